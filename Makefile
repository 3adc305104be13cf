# Everything a user or a developer runs. Targets tell what they do: `make help`.
ARGS ?=
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help up down status test check fmt bench bench-failover bench-gateway soak mutants boards pictures lock

help: ## show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | sort | awk -F '\t' '{ printf "  make %-14s %s\n", $$1, $$2 }'

up: ## install what is missing and start everything; ARGS="--runtime process --detach" go to `stoker up`
	@PYTHON=$(PYTHON) deploy/install.sh serve "$(ARGS)"
	@exec $(BIN)/stoker up $(ARGS)

down: ## stop everything
	@$(BIN)/stoker down $(ARGS)

status: ## print the table of replicas once
	@$(BIN)/stoker status $(ARGS)

test: ## install what is missing, then run every check and every test
	@PYTHON=$(PYTHON) deploy/install.sh test
	@$(MAKE) --no-print-directory check
	@if [ -n "$(ARGS)" ]; then $(BIN)/pytest $(ARGS); else $(BIN)/python -m tests.halves; fi

check: ## lint, format, types, import rules: fast, changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	dashboards/web/node_modules/.bin/tsc --project dashboards/web

fmt: ## put the code in its one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: ## measure, print a table and write docs/benchmarks.md
	@PYTHON=$(PYTHON) deploy/install.sh test
	$(BIN)/python -m tests.bench $(ARGS)

bench-failover: ## the same faults against Stoker, plain nginx and a Swarm service (root); ARGS="--trials 1 --json FILE"
	@PYTHON=$(PYTHON) deploy/install.sh test
	@$(BIN)/python -m tests.bench.failover $(ARGS)

bench-gateway: ## the gateway beside plain nginx, vllm-router and a FastAPI proxy; ARGS="--rounds 1 --only requests"
	@PYTHON=$(PYTHON) deploy/install.sh test
	@$(BIN)/python -m tests.bench.gateway_peers $(ARGS)

soak: ## a stack of its own under load, something broken every few seconds, and what must hold (root); ARGS="--minutes 10 --seed 7"
	@PYTHON=$(PYTHON) deploy/install.sh test
	@$(BIN)/python -m tests.soak $(ARGS)
	$(BIN)/pytest -m slow

mutants: ## plant faults in the core, one at a time, and list those that no test notices
	@PYTHON=$(PYTHON) deploy/install.sh test
	@nice $(BIN)/mutmut run $(ARGS)
	@$(BIN)/mutmut results

boards: ## write the JSON of Grafana's boards (dashboards/grafana/json) from their code; ARGS=--check only compares
	@PYTHON=$(PYTHON) deploy/install.sh test
	@$(BIN)/python -m dashboards.grafana $(ARGS)

pictures: ## take the pictures of docs/dashboard.md (docs/pictures) anew, during a drill on a stack of its own
	@PYTHON=$(PYTHON) deploy/install.sh test
	@$(BIN)/python -m tests.pictures

lock: ## take the newest packages that pyproject.toml allows into the lock files
	@PYTHON=$(PYTHON) deploy/install.sh test
	@deploy/lock.sh
