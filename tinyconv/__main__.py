"""`python -m tinyconv` is the tinyconv command."""

from tinyconv.cli import main

main()
