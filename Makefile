# Everything a newcomer needs: `make demo` and `make test`. Needs Python >= 3.11 and make, nothing else (no Java, no GPU).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install demo test test-all lint format lock clean

help:
	@echo "make demo      install into $(VENV), then run the whole loop on the bundled logs"
	@echo "make test      the tests that run everywhere (not slow, gpu or browser)"
	@echo "make test-all  every test that this machine can run"
	@echo "make lint      ruff, ruff format --check, mypy --strict"
	@echo "make format    let ruff rewrite what it can"
	@echo "make lock      write constraints.txt anew from pyproject.toml"
	@echo "make clean     remove $(VENV), caches and out/"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: Reprise needs Python 3.11 or later; got: $$($(PYTHON) --version 2>&1); expected: python3 >= 3.11;" \
	       "name another one with: make $(or $(MAKECMDGOALS),install) PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "installing into $(VENV): a few minutes the first time"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: $(STAMP)
	$(BIN)/reprise demo

test: $(STAMP)
	$(BIN)/python -m pytest -q -m "not slow and not gpu and not browser"

test-all: $(STAMP)
	$(BIN)/python -m pytest -q

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A fresh environment, so that nothing installed by hand finds its way into the lock.
lock:
	rm -rf $(VENV)-lock
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet "torch==2.13.0"
	$(VENV)-lock/bin/python -m pip install --quiet --editable ".[dev]"
	{ echo "# Exact versions that \`make\` installs; regenerate with \`make lock\`."; \
	  $(VENV)-lock/bin/python -m pip freeze --exclude-editable --exclude reprise | sed 's/+cpu$$//'; } > constraints.txt.new
	mv constraints.txt.new constraints.txt
	rm -rf $(VENV)-lock

clean:
	rm -rf $(VENV) $(VENV)-lock out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info spark-warehouse metastore_db
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
