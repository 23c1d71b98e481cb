"""The machine: the line of the user's program, files, the environment, and threads."""
