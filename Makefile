# make help shows what there is. Everything runs in .venv, made from requirements.lock.

PYTHON ?= python3
DURATION ?= 600
SEED ?=
ARGS ?=

RUN := .venv/bin/python -m
LOCK := UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --quiet

# Where it is set, each of the many processes would compile the whole program again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help env demo demo-kafka test runbooks soak lint types format lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

env: ## the virtual environment; nothing to do if the lock is unchanged
	@$(PYTHON) -m compose.local.bootstrap

demo: env ## a shop moved from MariaDB to PostgreSQL before your eyes
	@$(RUN) compose.demo

demo-kafka: env ## the same from MySQL, by Debezium and Kafka (needs Java and Maven)
	@$(RUN) compose.demo --kafka

test: env ## all tests against real servers (ARGS="-k word" and the like are passed on)
	@$(RUN) pytest -n 2 --dist loadscope $(ARGS)

runbooks: env ## what the commands of runbooks/ print is written anew, on real servers
	@DBBRIDGE_RUNBOOKS=write DBBRIDGE_SERVERS=private $(RUN) pytest tests/runbooks $(ARGS)

soak: env ## random load and crashes for DURATION seconds, repeatable by SEED
	@DBBRIDGE_SOAK_DURATION=$(DURATION) DBBRIDGE_SOAK_SEED=$(SEED) \
		$(RUN) pytest -m soak --timeout=0 -s $(ARGS)

lint: env ## style, format, and who may import whom
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@.venv/bin/lint-imports --no-cache

types: env ## static types
	@$(RUN) mypy

format: env ## lay the code out
	@$(RUN) ruff check --fix-only --quiet .
	@$(RUN) ruff format .

lock: ## pin the dependencies anew (needs uv)
	@$(LOCK) pyproject.toml --extra dev -o requirements.lock
	@echo setuptools | $(LOCK) pyproject.toml - --constraint requirements.lock -o compose/requirements.lock

clean: ## remove all that was made here
	@rm -rf .venv .local build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -prune -exec rm -rf {} +
