"""`python -m mlrun`: the command line."""

from mlrun.cli import main

main()
