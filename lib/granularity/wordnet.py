"""`python -m granularity.wordnet`: an older spelling of `granularity levels`."""

import sys

from granularity.commands.main import main

if __name__ == "__main__":
    main(["levels", *sys.argv[1:]])
