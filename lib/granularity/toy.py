"""The command `python -m granularity.toy FOLDER`; what it calls stands in `images.toy.drawing`."""

from granularity.images.toy.drawing import main

if __name__ == "__main__":
    main()
