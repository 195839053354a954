"""The command `python -m granularity.data check ROOT`; what it calls stands in `images.check`."""

from granularity.images.check import main

if __name__ == "__main__":
    main()
