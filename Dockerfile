# The whole environment in a container, for machines where nothing can be installed.
#   docker build -t granularity .
#   docker run --rm -v "$PWD/out:/granularity/_build" granularity make book
# With GPUs and data, see the chapter "Running the full experiment". Apptainer takes the image that docker saved:
#   docker save granularity -o granularity.tar && apptainer build granularity.sif docker-archive:granularity.tar
FROM python:3.12-slim-bookworm
# git: a record names the commit that made it
RUN apt-get update \
    && apt-get install -y --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /granularity
COPY . .
RUN python3 scripts/setup.py
ENV PATH=/granularity/.venv/bin:$PATH
CMD ["make", "book"]
