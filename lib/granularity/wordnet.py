"""The command `python -m granularity.wordnet LIST`; what it calls stands in `commands.levels`."""

from granularity.commands.levels import main

if __name__ == "__main__":
    main()
