# Two commands matter: `make book` and `make test`. `make as-is` runs nothing and makes a book of the
# records that are there. SIZE is a file of notebooks/params;
# BENCH is any of losses, training, packing, precision, theory and full.
SIZE ?= smoke
BENCH ?= losses training
BIN := .venv/bin

.PHONY: book as-is test test-faults test-browser pdf bench lab lock clean setup

book: setup
	@$(BIN)/python -I scripts/build.py $(SIZE)

as-is: setup
	@$(BIN)/python -I scripts/build.py $(SIZE) --as-is

test: setup
	@$(BIN)/python -m pytest -n 2 -m "not faults and not browser"

test-faults: setup
	@$(BIN)/python -m pytest -m faults

test-browser: setup
	@npm ci --prefix tests/browser --silent || echo "note: its two packages were not installed; the check will skip"
	@$(BIN)/python -m pytest -m browser

pdf:
	@npm ci --prefix tests/browser --silent
	@node tests/browser/print.mjs _build/html _build/granularity-book.pdf

bench: setup
	@mkdir -p runs/hand/bench
	@for name in $(BENCH); do $(BIN)/python -I -m granularity.surroundings \
		$(BIN)/papermill --no-progress-bar notebooks/bench/$$name.ipynb \
		runs/hand/bench/$$name.ipynb || exit 1; done; echo "Records: runs/hand/bench"

lab: setup
	@$(BIN)/jupyter lab --notebook-dir=.

lock:
	@$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --quiet -o requirements.lock

clean:
	rm -rf _build runs/smoke runs/hand book/chapters .snakemake

setup:
	@command -v python3 >/dev/null || { echo "error: no python3 found; install Python 3.11, 3.12 or 3.13" >&2; exit 1; }
	@python3 -I scripts/setup.py
