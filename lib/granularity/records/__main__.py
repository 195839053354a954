"""`python -m granularity.records`: older for `granularity publish`, `verify`, `equal`."""

from granularity.commands.main import main

if __name__ == "__main__":
    main()
