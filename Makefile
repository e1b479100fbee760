# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
export PYTHON
VENV   ?= .venv
BIN     = $(VENV)/bin
STAMP   = $(VENV)/.installed

.PHONY: demo test lint clean

demo: $(STAMP)
	$(BIN)/lab run --rate auto --trials 6

test: $(STAMP) lint
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# Which lines the tests reach, child processes included; pyproject.toml has the floor. From Python 3.12
# on the interpreter itself tells, which costs hardly any time.
.PHONY: coverage
coverage: $(STAMP)
	rm -rf build/coverage
	mkdir -p build/coverage
	COVERAGE_CORE=$$($(BIN)/python -c 'import sys; print(("ctrace", "sysmon")[sys.version_info >= (3, 12)])') \
	    $(BIN)/python -m coverage run -m pytest $(PYTEST_ARGS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: system
system:
	@tools/system-packages

$(STAMP): pyproject.toml constraints.txt | system
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache
