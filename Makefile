# What a person or CI runs. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
RUN := $(CURDIR)/$(VENV)/bin
ROOTS := operator node_agent cni_shim crds e2e tests benchmarks
export PYTHONSAFEPATH = 1
export PATH := $(RUN):$(PATH)

.PHONY: help deps demo test check lint types imports unit soak churn netns e2e conformance bench fleet crds requirements

help:  ## Show this list
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

deps: $(VENV)/.installed  ## Install system packages (as root on Debian/Ubuntu) and the virtual environment

$(VENV)/.installed: requirements/dev.txt requirements/build.txt pyproject.toml requirements/system-packages.sh
	sh requirements/system-packages.sh
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	ln -sf ../../e2e/eni-lab $(RUN)/eni-lab
	touch $@

demo: deps  ## Show the main job on a real cluster (KEEP=1 leaves it running)
	eni-lab demo $(if $(KEEP),--keep)

test: deps  ## Everything CI checks: lint, types, layers, unit, kernel and cluster tests
	$(MAKE) --no-print-directory check netns e2e

check: lint types imports unit  ## What is quick: lint, types, layers, unit tests

lint: deps  ## ruff, and its formatter
	ruff check .
	ruff format --check .

types: deps  ## mypy, strict
	mypy $(ROOTS)

imports: deps  ## The layers of the architecture
	lint-imports --no-logo

unit: deps  ## Tests that need neither root nor a cluster
	pytest -q -n auto -m "not netns and not e2e" tests

soak: deps  ## The whole operator in everything at once: SOAK_SEEDS=200 times ten virtual minutes, about a second each
	SOAK_SEEDS=$(or $(SOAK_SEEDS),200) pytest -q tests/eni_operator/controllers/test_soak.py

churn: deps  ## 500 pods come and go while the agent is killed, for 5 minutes (root; SECONDS, PODS, SEED)
	CHURN_SECONDS=$(or $(SECONDS),300) CHURN_PODS=$(or $(PODS),500) CHURN_SEED=$(or $(SEED),1) \
		pytest -q -s tests/eni_node_agent/test_churn.py

netns: deps  ## Tests of the kernel's part, in network namespaces (root)
	pytest -q -n 2 -m netns tests

e2e: deps  ## Tests on whole clusters in namespaces, two at a time (root)
	eni-lab image
	pytest -q -n 2 --dist loadfile -m e2e --timeout 600 --durations 10 e2e

conformance: deps  ## Upstream's network conformance on our network (root; MODE, PROXY, FOCUS, KEEP: docs/conformance.md)
	$(RUN)/python -m eni_lab.kube.conformance $(if $(MODE),--mode $(MODE)) $(if $(PROXY),--proxy $(PROXY)) \
		$(if $(FOCUS),--focus '$(FOCUS)') $(if $(KEEP),--keep)

bench: deps  ## Measure beside a peer; figures go to benchmarks/latest.json
	PYTHONPATH=$(CURDIR)/tests/support $(RUN)/python benchmarks/__main__.py

fleet: deps  ## A model of 1,000 nodes that join at once, beside VPC CNI's (NODES=100 asks for fewer)
	PYTHONPATH=$(CURDIR):$(CURDIR)/tests/support $(RUN)/python -m benchmarks.fleet $(if $(NODES),--nodes $(NODES))

crds: deps  ## Generate crds/*.yaml from the models
	$(RUN)/python -m eni_crds.schema crds

requirements: deps  ## Pin every dependency again, with hashes
	sh requirements/pin.sh
