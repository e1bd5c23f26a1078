# make demo: everything up to the explorer of a real recording; make test: everything up to the last test.
PYTHON ?= $(shell for candidate in python3 python3.13 python3.12 python3.11 python; do \
	command -v $$candidate >/dev/null 2>&1 && $$candidate -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 && { echo $$candidate; break; }; done)
BIN := .venv/bin
ARGS ?=

.PHONY: demo test lint bench docs screenshots clean

demo: .venv/installed
	$(BIN)/nldisco demo $(ARGS)

test: .venv/installed-test lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term:skip-covered $(ARGS)

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy nldisco_core plugins/nldisco_* datasets/nldisco_datasets
	$(BIN)/lint-imports

bench: .venv/installed-test
	@missed=0; for script in $(filter-out %/reporting.py %/unrelated.py,$(wildcard benchmarks/*.py)); do \
		$(BIN)/python $$script || missed=1; done; exit $$missed

docs screenshots: .venv/installed-test
	$(BIN)/python docs/make_screenshots.py $(ARGS)

.venv/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; set PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

.venv/installed: .venv/python pyproject.toml .constraints.txt
	$(BIN)/python -m pip install --quiet --constraint .constraints.txt --editable .
	touch $@

.venv/installed-test: .venv/python pyproject.toml .constraints.txt
	$(BIN)/python -m pip install --quiet --constraint .constraints.txt --editable ".[test]"
	touch $@ .venv/installed

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache
