# make run     compress the default network on the digits; ARGS="data=cifar10 ..." for more
# make test    ruff, mypy and the tests
# make lint    ruff and mypy only
#
# Variables, all optional:
#   PYTHON      interpreter >= 3.11 that makes .venv
#   ARGS        arguments of agmc (make run) or pytest (make test)
#   CPU_INDEX   where wheels of torch without CUDA come from, taken if it answers;
#               `make CPU_INDEX= run` takes torch as the default index offers it
#   PIP_ARGS    further arguments of pip install

PYTHON ?= python3
VENV ?= .venv
CPU_INDEX ?= https://download.pytorch.org/whl/cpu
PIP_ARGS ?=
ARGS ?=

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: run test lint install clean

run: $(INSTALLED)
	$(BIN)/agmc $(ARGS)

test: lint
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: $(INSTALLED)

# An index that does not answer would cost pip ten seconds a package, so ask it first.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "agmc needs Python 3.11 or later, and '$(PYTHON)' is" \
	    "$$($(PYTHON) --version 2>&1 | head -n 1)." \
	    "Name another one: make PYTHON=python3.12" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@index=; \
	if [ -n "$(CPU_INDEX)" ] && $(PYTHON) -c 'import sys, urllib.request; \
	  urllib.request.urlopen(sys.argv[1] + "/torch/", timeout=10)' \
	  "$(CPU_INDEX)" 2>/dev/null; then index="--extra-index-url $(CPU_INDEX)"; fi; \
	set -x; $(BIN)/python -m pip install --disable-pip-version-check \
	  -c constraints.txt $$index $(PIP_ARGS) -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
