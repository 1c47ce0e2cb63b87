# `make` lists the targets. Everything happens in .venv, which each target makes as needed.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

BIN := .venv/bin
INSTALLED := .venv/installed
REASON := .venv/reason
REMOTE := SUPABASE_URL SUPABASE_ANON_KEY SUPABASE_SERVICE_ROLE_KEY SUPABASE_PROJECT_REF \
	DATABASE_URL BROKER_URL RESULT_URL

.PHONY: help
help: ## List the targets
	@echo "make <target>, where the target is one of:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | \
		while IFS='|' read -r target text; do printf '  %-15s %s\n' "$$target" "$$text"; done

# Running it

.PHONY: demo
demo: demo-run ## Carry files up and down on this machine (FILE=… carries that one, DATA=… keeps)
	@:$(if $(shell cat $(REASON) 2>/dev/null),$(error The demo failed: $(shell cat $(REASON))))

.PHONY: demo-run
demo-run: $(INSTALLED)
	@rm -f $(REASON) && touch $(REASON)
	@$(BIN)/python -m local demo --reason-to $(REASON) \
		$${FILE:+--file "$$FILE"} $${DATA:+--data "$$DATA"} || test -s $(REASON)

.PHONY: up
up: $(INSTALLED) ## Leave the whole deployment running on this machine, until Ctrl-C
	@$(BIN)/python -m local up $${DATA:+--data "$$DATA"}

.PHONY: env
env: ## Make .env for docker compose, with fresh keys (an .env that is there keeps its own)
	@python3 deploy/compose/make_env.py

# Testing it

# Most of a test's time is spent waiting for servers, so two files are run at once: each process
# has servers of its own. In the order in which they are given: else the files of few but long
# tests would come last, and one of them would run alone.
AT_ONCE := --numprocesses 2 --dist loadfile --no-loadscope-reorder
LOCAL := tests/integration/stack tests/integration/supabase tests/integration/test_demo.py
MEDIA := tests/unit/media tests/unit/coding tests/integration/test_content.py \
	tests/integration/test_processing.py tests/integration/test_processing_races.py \
	tests/integration/test_compressed_uploads.py tests/integration/test_passes.py \
	tests/integration/test_copies.py tests/integration/test_delete.py
CLIENT := tests/integration/client
MONITORING := tests/monitoring tests/integration/test_worker_metrics.py \
	tests/integration/test_traces.py
FAULTS := tests/faults/test_mutations.py tests/faults/test_leaving.py \
	tests/faults/test_rolling_restart.py tests/faults/test_upgrade.py \
	tests/faults/test_broker_wiped.py tests/faults/test_restore.py \
	tests/faults/test_new_secret.py tests/faults/test_poison.py \
	tests/faults/test_storage_away.py tests/faults/test_tied.py \
	tests/integration/test_probes.py \
	tests/integration/test_batches.py tests/integration/test_trail.py \
	tests/integration/test_parts.py tests/integration/test_streams.py \
	tests/integration/test_plans_that_differ.py
KILLS := tests/faults/test_harness.py tests/faults/test_kills.py \
	tests/faults/test_processing_kills.py tests/faults/test_outliving.py \
	tests/faults/test_register.py
LANES := tests/security tests/flower tests/compose \
	$(LOCAL) $(CLIENT) $(MEDIA) $(MONITORING) $(FAULTS) $(KILLS)

.PHONY: test
test: $(INSTALLED) broker ## Run every test but those of the lanes below (ARGS="-k upload")
	$(BIN)/python -m pytest $(AT_ONCE) $(LANES:%=--ignore=%) $(ARGS)

.PHONY: test-client
test-client: $(INSTALLED) broker ## Run the tests of what agents hold: client, messages, examples, pages
	$(BIN)/python -m pytest $(AT_ONCE) $(CLIENT) $(ARGS)

.PHONY: test-media
test-media: $(INSTALLED) broker ## Run the tests of what is made of files: thumbnails, compression, copies
	$(BIN)/python -m pytest $(AT_ONCE) $(MEDIA) $(ARGS)

.PHONY: test-faults
test-faults: $(INSTALLED) broker ## Run the tests of what goes away: rules, workers, servers, versions
	$(BIN)/python -m pytest $(AT_ONCE) $(FAULTS) $(ARGS)

.PHONY: test-kills
test-kills: $(INSTALLED) broker ## Kill every process in the midst of work, and break things at random
	$(BIN)/python -m pytest $(AT_ONCE) $(KILLS) $(ARGS)

.PHONY: test-monitoring
test-monitoring: $(INSTALLED) broker ## Cause what every alert is for, before a real Prometheus
	@deploy/prometheus/install.sh
	$(BIN)/python -m pytest $(MONITORING) $(ARGS)

.PHONY: test-security
test-security: $(INSTALLED) broker ## Run the attacks, and every cell of the access matrix
	$(BIN)/python -m pytest $(AT_ONCE) -m 'not large' tests/security $(ARGS)

.PHONY: test-local
test-local: $(INSTALLED) broker ## Run the tests of the local stack and of its Supabase
	$(BIN)/python -m pytest $(AT_ONCE) $(LOCAL) $(ARGS)

.PHONY: test-flower
test-flower: $(INSTALLED) broker ## Run the test that opens Flower in a real Chromium
	@tests/flower/install.sh
	$(BIN)/python -m pytest tests/flower $(ARGS)

.PHONY: test-compose
test-compose: $(INSTALLED) ## Build the image, and run docker-compose.yml (PULL=1: no stand-ins)
	PULL=$(PULL) DATA=$(DATA) $(BIN)/python -m pytest -v tests/compose $(ARGS)

.PHONY: faults
faults: $(INSTALLED) broker ## Break things at random and count what is lost (MINUTES=3 SEED=… DATA=…)
	@$(BIN)/python -m tests.faults.harness faults --minutes $(or $(MINUTES),3) \
		$(if $(SEED),--seed $(SEED)) $(if $(DATA),--data $(DATA))

.PHONY: outage
outage: $(INSTALLED) broker ## Take Storage away while work comes in, and measure (MINUTES=10 DATA=…)
	@$(BIN)/python -m tests.faults.harness outage --minutes $(or $(MINUTES),10) \
		$(if $(DATA),--data $(DATA))

.PHONY: test-large
test-large: $(INSTALLED) broker ## Run the tests that carry 1 to 5 GiB (need 16 GiB of disk)
	$(BIN)/python -m pytest -m large $(ARGS)

.PHONY: test-remote
test-remote: $(INSTALLED) ## Run the integration tests against a real project (docs/settings.md)
	@missing=; for name in $(REMOTE); do \
		eval "test -n \"\$${$$name:-}\"" || missing="$$missing $$name"; done; \
	test -n "$${SUPABASE_JWT_SECRET:-}$${SUPABASE_JWT_SIGNING_KEY:-}" || \
		missing="$$missing SUPABASE_JWT_SECRET (or SUPABASE_JWT_SIGNING_KEY)"; \
	test -z "$$missing" || { echo "make test-remote needs these variables:$$missing" >&2; exit 2; }
	ARGOSY_TEST_REMOTE=1 $(BIN)/python -m pytest tests/integration \
		--ignore=tests/integration/stack --ignore=tests/integration/supabase \
		--ignore=tests/integration/test_demo.py $(ARGS)

.PHONY: broker
broker:
	@deploy/rabbitmq/install.sh

.PHONY: bench
bench: $(INSTALLED) ## Measure speed and memory (QUICK=1: smaller files, LARGE=1: 5 GB too)
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(LARGE),--large) $(ARGS)

# Writing it

.PHONY: lint
lint: $(INSTALLED) ## Check style, types and the direction of imports
	@failed=; for check in "ruff check" "ruff format --check" "python -m mypy" \
		"python -m mypy deploy/compose deploy/image" lint-imports; do \
		echo "$$check" && $(BIN)/$$check || failed="$$failed [$$check]"; done; \
	test -z "$$failed" || { echo "Failed:$$failed" >&2; exit 1; }

.PHONY: format
format: $(INSTALLED) ## Format the code, and repair what ruff can
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

.PHONY: docs
docs: $(INSTALLED) ## Write what is made from the code: pages of docs/, Grafana's dashboards
	$(BIN)/python docs/generate.py
	$(BIN)/python deploy/grafana/generate.py

.PHONY: site
site: $(INSTALLED) ## Make the pages for a browser, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

.PHONY: lock
lock: ## Compile requirements.lock anew; UPGRADE=1 takes newer versions
	@tool=$$(mktemp -d) && trap 'rm -rf "$$tool"' EXIT && \
	python=$$(./.ci/find-python) && "$$python" -m venv "$$tool" && \
	"$$tool/bin/pip" install --quiet uv && \
	"$$tool/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --extra dev \
		$(if $(UPGRADE),--upgrade) pyproject.toml -o requirements.lock && \
	! grep -n '://' requirements.lock

.PHONY: venv
venv: $(INSTALLED) ## Make .venv and install what is locked (PYTHON=… says with which Python)

$(INSTALLED): requirements.lock pyproject.toml
	@$(BIN)/python -c 'import pip' 2>/dev/null || { \
		python=$$(./.ci/find-python) && "$$python" -m venv --clear .venv; }
	@echo "Installing what is locked into .venv ..."
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: clean
clean: ## Remove .venv, caches and the data of `make up`
	rm -rf .venv .argosy .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
