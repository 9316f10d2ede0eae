# rhoflow on a fresh machine: `make run`, then `make test`.
PYTHON ?= python3
CXX ?= g++
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all

.PHONY: run test slurm lint reference benchmarks clean help

help:  ## Show the targets.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

run: $(VENV)/.ready  ## Set up .venv if needed and run the default config to results/report.html.
	$(BIN)/snakemake --cores $(CORES) --rerun-incomplete

test: $(VENV)/.ready  ## Set up .venv if needed and run the tests; those that start a Slurm have a target of their own.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slurm"

slurm: $(VENV)/.ready  ## Tests on a real one-node Slurm, started and stopped as root (Debian: slurm-wlm slurmdbd munge mariadb-server).
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/slurm --durations=10 --maxfail=3

lint: $(VENV)/.ready  ## Linters, formatters and the type checker.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint
	$(BIN)/pyright

reference: $(VENV)/.ready  ## Write config/README.md and the JSON schema anew.
	PYTHONPATH=workflow $(BIN)/python -m rhoflow.reference readme > config/README.md
	PYTHONPATH=workflow $(BIN)/python -m rhoflow.reference schema > workflow/schemas/config.schema.json

benchmarks: $(VENV)/.ready  ## Speed against peers, measured in the same run.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/benchmarks -s -o addopts="--import-mode=importlib" --benchmark-columns=median,iqr,rounds

# GPAW is compiled: gcc reads its C++ files as C++ only when CC is a C++ compiler.
$(VENV)/.ready: envs/constraints.txt envs/requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 13) else \
	f"rhoflow needs Python 3.11 or 3.12, but $(PYTHON) is {sys.version.split()[0]}. Name another one: make PYTHON=python3.11 ...")'
	@command -v $(firstword $(CXX)) > /dev/null || { echo "rhoflow: no C++ compiler '$(CXX)' found; \
	GPAW is compiled at installation. Install one (Debian, Ubuntu: apt-get install g++) or name it: make CXX=clang++ ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "rhoflow: $(PYTHON) cannot make \
	a virtual environment (Debian, Ubuntu: apt-get install python3-venv), or name another one: make PYTHON=..."; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet -c envs/constraints.txt torch
	CC="$(CXX)" $(BIN)/python -m pip install --quiet -c envs/constraints.txt -r envs/requirements.txt
	$(BIN)/python -m pip check
	@touch $@

clean:  ## Remove results (finished DFT calculations too) and Snakemake's records.
	find results -mindepth 1 ! -name README.md -delete
	rm -rf .snakemake
