# The two commands are `make demo` and `make test`. `make help` lists the rest.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
SOAK ?= 1000
FUZZ ?= 20000
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Twice quiet: errors are shown, remarks on package indexes are not.
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

help: ## show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

install: $(STAMP) ## make .venv and install weft with what its tests need

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "weft needs Python 3.11 or newer, for example: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "installing weft and what its tests need into $(VENV)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps -e .
	@$(BIN)/python -m compileall -q src/weft
	@touch $(STAMP)

demo: $(STAMP) ## start weft, deploy the examples, show what the mesh does
	@$(BIN)/python tools/get_tools.py redis-server
	@$(BIN)/python -m weft.cli demo

demo-broken: $(STAMP) ## the same with a fault in it: find it (docs/find-a-fault.md)
	@$(BIN)/python tools/get_tools.py redis-server
	@$(BIN)/python -m weft.cli demo --broken

check: $(STAMP) ## the fast tests and all static checks (under 30 s)
	@$(BIN)/python tools/check.py

test: $(STAMP) ## every test but the long soaks (under 15 min)
	@$(BIN)/python tools/get_tools.py
	@$(BIN)/python tools/check.py --all

soak: $(STAMP) ## for longer: rolling updates under load, `weft why` beside Envoy (SOAK=1000 configurations; root)
	@WEFT_ROLLING_REQUESTS=20000 $(BIN)/python -m pytest tests/e2e/test_faults.py -k rolling
	@WEFT_SOAK_CONFIGURATIONS=$(SOAK) $(BIN)/python -m pytest tests/mesh/test_explain_envoy.py

fuzz: $(STAMP) ## feed every parser that faces the network for longer (FUZZ=20000 examples of each)
	@WEFT_FUZZ_EXAMPLES=$(FUZZ) $(BIN)/python -m pytest -q -n 2 --show-capture=no tests/fuzz

golden: $(STAMP) ## rewrite the golden files and delete stale ones
	@$(BIN)/python -m pytest tests --golden-update -m "not slow and not e2e"

generate: $(STAMP) ## rewrite generated code and packaged schema data
	@$(BIN)/python tools/generate_api.py
	@$(BIN)/python tools/generate_schema.py

generate-protobuf: $(STAMP) ## rewrite the protobuf tables from KUBECTL=/path/to/kubectl of 1.33
	@$(BIN)/python tools/generate_protobuf.py $(KUBECTL)

dashboard-vendor: ## build the dashboard's libraries from npm into the package, with their licences
	@cd tools/dashboard_vendor && npm ci --silent && node build.mjs

bench: $(STAMP) ## run the benchmarks, print ratios
	@$(BIN)/python tools/get_tools.py wrk h2load nginx haproxy
	@PATH="$(BIN):$$PATH" $(BIN)/python -m benchmarks

lock: ## write requirements.lock from pyproject.toml
	@$(BIN)/uv pip compile -q pyproject.toml --group dev --group examples --universal \
	  --generate-hashes --no-header --no-annotate --no-emit-index-url -o requirements.lock

format: $(STAMP) ## format the code
	@$(BIN)/ruff format -q . && $(BIN)/ruff check -q --fix .

clean: ## remove what make made
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.PHONY: help install demo demo-broken dashboard-vendor check test soak fuzz golden generate generate-protobuf bench lock format clean
