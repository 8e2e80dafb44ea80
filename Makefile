.DEFAULT_GOAL := help
.PHONY: help install demo test check fmt lock upgrade clean
MAKEFLAGS += --no-print-directory
# A caller's own environment must not leak into ours.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

BIN := .venv/bin
BOOTSTRAP := PYTHON="$(PYTHON)" sh scripts/bootstrap

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: ## Build .venv from poetry.lock (needs Python 3.11+, nothing else)
	@$(BOOTSTRAP) install

demo: install ## Try it offline: a tour with a streamed chat, no account needed
	@$(BIN)/python -m demo.tour

test: install ## Run the tests (PYTEST_ARGS="-k name" for some)
	@$(BIN)/pytest $(PYTEST_ARGS)

check: install ## What CI runs: lint, format, types, tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@$(MAKE) test

fmt: install ## Format and fix what ruff can
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

lock: ## Write poetry.lock after a change of pyproject.toml
	@$(BOOTSTRAP) poetry lock

upgrade: ## Lock the newest claude-agent-sdk and run the contract tests
	@$(BOOTSTRAP) poetry update --lock claude-agent-sdk
	@$(BOOTSTRAP) install
	@$(BIN)/pytest $(wildcard tests/test_contract_*.py) $(PYTEST_ARGS)

clean: ## Remove .venv, the private Poetry and all caches
	@rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
