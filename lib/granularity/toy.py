"""`python -m granularity.toy`: an older spelling of `granularity toy`."""

import sys

from granularity.commands.main import main

if __name__ == "__main__":
    main(["toy", *sys.argv[1:]])
