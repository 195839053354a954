"""`python -m granularity.train`: an older spelling of `granularity train`."""

import sys

from granularity.commands.main import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
