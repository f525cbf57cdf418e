# Needs only Python 3.11+ and make. Everything else is installed into .venv, or by the system's package manager.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)
JOBS ?= 2
CHAOS_MINUTES ?= 5
LUA := $(wildcard lua/*.lua lua/include/*.lua)

.PHONY: help run demo bench bench-check load chaos test tests lint format generate docs servers clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

.venv/.installed: pyproject.toml tools/venv.sh
	@tools/venv.sh
	@touch $@

.venv/.developer: .venv/.installed tools/lua/package-lock.json tests/direct/node/package-lock.json
	@tools/venv.sh --developer
	@touch $@

run: .venv/.installed  ## everything on the embedded default; Ctrl-C ends it (ARGS="--port 9000" for options)
	@exec scaiqueue dev $(ARGS)

demo: .venv/.installed  ## real webhooks through the whole queue, one consumer killed, every row checked (ARGS="--help")
	@python -m loadtest.demo $(ARGS)

.venv/.measuring: .venv/.installed
	@tools/venv.sh --measuring
	@touch $@

bench: .venv/.measuring servers  ## measure against floors and other queues (ARGS="scripts http persister peers --quick")
	@python -m loadtest.bench $(ARGS)

bench-check: .venv/.measuring servers  ## fail if a ratio to a floor lost more than 15 % against the baseline
	@python -m loadtest.bench scripts http persister --check --out .bench/check $(ARGS)

load: .venv/.measuring  ## load over HTTP with Locust: scenarios, a sweep, the knee (UI=1 for the web page)
	@python -m loadtest.load $(if $(UI),--ui) $(ARGS)

chaos: .venv/.developer servers  ## kill, freeze and cut off real servers under load, then check every promise (CHAOS_MINUTES=5 SEED=7)
	@python -m tests.chaos --minutes $(CHAOS_MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

servers:  ## install the servers and linters that the tests need, through the system's package manager
	@tools/servers.sh

test: servers lint tests  ## lint, types and the whole suite

tests: .venv/.developer  ## the suite alone (PYTEST="-k name" for options)
	@python -m pytest -n $(JOBS) --dist worksteal $(PYTEST)

lint: .venv/.developer  ## ruff, mypy, luacheck, formatting of Python and Lua
	@ruff check .
	@ruff format --check .
	@mypy
	@python tools/lua/check.py
	@node tools/lua/format.mjs --check $(LUA)

format: .venv/.developer  ## format Python and Lua in place
	@ruff check --fix-only --quiet .
	@ruff format .
	@node tools/lua/format.mjs $(LUA)

generate: .venv/.developer  ## what is made: from the contracts, the transition table, the code's lists and a run of the quickstart
	@python -m scaiqueue.scripts.generate
	@python -m tests.scripts.transitions
	@python -m tests.reference.pages
	@ruff format --quiet scaiqueue/scripts/binding.py
	@python -m tests.quickstart.transcript

.venv/.documenting: .venv/.installed
	@tools/venv.sh --documenting
	@touch $@

docs: .venv/.documenting  ## the documentation as a site that needs no internet, in .site/html; broken links end it
	@python tools/site.py

clean:  ## remove what was installed and built; the data folder stays
	@rm -rf .venv .site build dist *.egg-info tools/lua/node_modules tests/direct/node/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
