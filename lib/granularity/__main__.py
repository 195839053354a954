"""`python -m granularity`: the command `granularity`, where that is not on the path."""

from granularity.commands.main import main

if __name__ == "__main__":
    main()
