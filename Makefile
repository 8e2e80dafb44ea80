.DEFAULT_GOAL := help
.PHONY: help install tools browser demo bench docs wheel test clients check fmt lock upgrade audit clean
MAKEFLAGS += --no-print-directory
# A caller's own environment must not leak into ours.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
AUDIT := .cache/audit/bin/pip-audit
BOOTSTRAP := PYTHON="$(PYTHON)" sh scripts/bootstrap

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: ## Build .venv for the server and the demo (needs Python 3.11+, nothing else)
	@$(BOOTSTRAP) install

tools: ## The same, with the tools of the tests and of the documentation
	@$(BOOTSTRAP) install dev docs

browser: ## Fetch what the tests of the page need: Chromium (Debian) and axe-core (npm)
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq chromium; }
	@npm install --silent --no-save --prefix .cache/browser axe-core@4

demo: install ## Try it offline: a tour with chats and a function, no account needed
	@$(BIN)/python -m demo.tour

bench: tools ## Measure it beside the naive way (PEERS=1: LiteLLM too; BENCH_ARGS="--soak 5000")
	@PEERS="$(PEERS)" $(BIN)/python -m benchmarks $(BENCH_ARGS)

docs: tools ## Build the documentation as a site with a search, into .cache/site
	@$(BIN)/python -m scripts.site

wheel: tools ## Build the wheel, into dist/
	@$(BIN)/python -m hatchling build -t wheel -d dist

test: tools ## Run the tests (PYTEST_ARGS="-k name" for some)
	@$(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal $(PYTEST_ARGS)

clients: ## Install the clients that tests run from npm, Codex among them (needs Node.js and npm)
	@mkdir -p .cache/clients
	@cp tests/clients/package.json tests/clients/package-lock.json .cache/clients
	@cd .cache/clients && npm ci --no-audit --no-fund --ignore-scripts

check: tools ## What CI runs: lint, format, types, tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@$(MAKE) test

fmt: tools ## Format and fix what ruff can
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

lock: ## Write poetry.lock after a change of pyproject.toml
	@$(BOOTSTRAP) poetry lock

upgrade: ## Move to the newest claude-agent-sdk, run the contract tests, say what changed
	@$(BOOTSTRAP) upgrade $(PYTEST_ARGS)

audit: tools ## Look up known vulnerabilities of all that is installed (needs the internet)
	@test -x $(AUDIT) || { $(BIN)/python -m venv .cache/audit && \
		.cache/audit/bin/pip install --quiet 'pip-audit>=2.10,<3'; }
	@$(AUDIT) --strict --vulnerability-service osv --progress-spinner off \
		--path "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" || \
		{ echo 'audit: the lines above name what was found, or why the advisories (OSV) could not be asked' >&2; exit 1; }

clean: ## Remove .venv, the private Poetry and all caches
	@rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
