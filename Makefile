# make demo | test | bench-data | bench-adapters | bench-pretrain | bench-orchestration | server | server-stop | lint | clean; each makes the environment first if need be.

# The first Python on the path that is new enough.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALLED := .venv/installed
LINTERS := .venv/linters

.PHONY: demo test bench-data bench-adapters bench-pretrain bench-orchestration server server-stop lint clean

demo: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m flows.pretrain_pipeline
	@echo; cat results/table1.md; echo; echo "All tables and pictures: results/report.html"
	@$(BIN)/c2p report 2>/dev/null | sed "s/^/With time and memory of each stage: /"

# Tests wait for processes more than they compute: more of them at once than there are cores, on one thread each.
TESTERS ?= 3

test: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 \
		$(BIN)/python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder

bench-data: $(INSTALLED)
	$(BIN)/python -m benchmarks.data

bench-adapters: $(INSTALLED)
	$(BIN)/python -m benchmarks.adapters

bench-pretrain: $(INSTALLED)
	$(BIN)/python -m benchmarks.pretrain

bench-orchestration: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.orchestration

server: $(INSTALLED)
	@$(BIN)/python -m flows.server start

server-stop: $(INSTALLED)
	@$(BIN)/python -m flows.server stop

lint: $(LINTERS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache build *.egg-info
	find c2p tasks flows tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

# pip compiles on one core. Files of later Pythons fail, which nobody imports here.
$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "needs Python 3.11 or later; name it: make PYTHON=/path/to/python3" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e ".[test]"
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' .venv/lib || true
	$(BIN)/python -m flows.database
	touch $@

$(LINTERS): $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@
