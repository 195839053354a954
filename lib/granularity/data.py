"""`python -m granularity.data`: an older spelling of `granularity check`."""

from granularity.commands.main import main

if __name__ == "__main__":
    main()
