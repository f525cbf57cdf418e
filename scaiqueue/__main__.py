"""`python -m scaiqueue` is the `scaiqueue` command."""

from scaiqueue.cli import main

main()
