# The two commands are `make demo` and `make test`. `make help` lists the rest.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

help: ## show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(STAMP) ## make .venv and install weft with what its tests need

$(STAMP): pyproject.toml requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	@touch $(STAMP)

demo: $(STAMP) ## start weft, deploy the examples, show what the mesh does
	@$(BIN)/python -m weft.cli demo

check: $(STAMP) ## the fast tests and all static checks (under 30 s)
	@$(BIN)/python tools/check.py

test: $(STAMP) ## every test but the long soaks (under 15 min)
	@$(BIN)/python tools/check.py --all

golden: $(STAMP) ## rewrite the golden files and delete stale ones
	@$(BIN)/python -m pytest tests --golden-update -m "not slow and not e2e"

generate: $(STAMP) ## rewrite generated code and packaged schema data
	@$(BIN)/python tools/generate_api.py
	@$(BIN)/python tools/generate_schema.py

bench: $(STAMP) ## run the benchmarks, print ratios
	@$(BIN)/python -m benchmarks

lock: ## write requirements.lock from pyproject.toml
	@$(BIN)/uv pip compile -q pyproject.toml --group dev --group examples --universal \
	  --generate-hashes --no-header --no-annotate --no-emit-index-url -o requirements.lock

format: $(STAMP) ## format the code
	@$(BIN)/ruff format -q . && $(BIN)/ruff check -q --fix .

clean: ## remove what make made
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.PHONY: help install demo check test golden generate bench lock format clean
