# The two commands of a newcomer (make demo, make test) and the few of a contributor. Works with the make of macOS (3.81).

VENV := .venv
WORKERS ?= 2
CONSTRAINTS := installation/constraints.txt
# The first interpreter that is new enough; read only where an environment has to be made.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)

# An environment is as old as what it was installed from: another pin, another stamp.
PINS := $(shell cat pyproject.toml setup.py $(CONSTRAINTS) | cksum | cut -d' ' -f1)
BASE := $(VENV)/.base-$(PINS)
TEST := $(VENV)/.test-$(PINS)
DOCS := $(VENV)/.docs-$(PINS)

# Spinning OpenMP threads on a shared processor cost 2 to 28 times the time.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs clean

help: ## list these targets
	@awk -F':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(BASE) ## install, train a toy model, evaluate it, roll it out, show where to look
	$(VENV)/bin/python train.py
	@run=$$(cd train_runs/latest 2>/dev/null && pwd -P) \
		|| { echo "make demo: train.py left no run at train_runs/latest" >&2; exit 1; }; set -ex; \
		$(VENV)/bin/python eval.py "model.load_dir='$$run'"; \
		$(VENV)/bin/python run_on_env.py "model.load_dir='$$run'"
	@echo "make demo: done. Open train_runs/latest/report.html"

test: $(TEST) lint ## every check: style, types and all tests, slow ones included
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(WORKERS)
	@echo "make test: style, types and tests passed"

lint: $(TEST) ## style and types only
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: $(DOCS) ## build the documentation into site/
	$(VENV)/bin/mkdocs build --strict --quiet
	@echo "make docs: done. Open site/index.html"

clean: ## remove the environment, caches and build output; runs and data stay
	rm -rf $(VENV) build dist site src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call install,extras): brings $(VENV) to the pins. Making an environment again over itself is harmless and mends a broken one.
define install
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "maskbench needs Python 3.11 or newer\
	and found none. Install it, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.$(1)'
endef

$(BASE):
	$(call install)
	@rm -f $(VENV)/.base-* && touch $@

$(TEST):
	$(call install,[robotics$(comma)data$(comma)tracking$(comma)sweep$(comma)dev])
	@rm -f $(VENV)/.base-* $(VENV)/.test-* && touch $(BASE) $@

$(DOCS):
	$(call install,[docs])
	@rm -f $(VENV)/.docs-* && touch $@

comma := ,
