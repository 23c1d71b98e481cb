"""The machine: the user's line, files, the environment, threads."""
