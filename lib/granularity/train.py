"""The command `python -m granularity.train JOB.yaml`; what it calls stands in `records.launch`."""

from granularity.records.launch import main

if __name__ == "__main__":
    main()
