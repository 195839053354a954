"""The command `python -m granularity.records`; what it calls stands in `commands.records`."""

from granularity.commands.records import main

if __name__ == "__main__":
    main()
