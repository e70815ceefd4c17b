# Two commands: `make example` runs the main job on a bundled dataset, `make test` passes the tests.
# Needs Python >= 3.11 and make; everything else goes into $(VENV).
#
# TORCH_INDEX   address of an index that holds CPU builds of PyTorch. Empty (the default) when pip already
#               finds one: PIP_FIND_LINKS, or find-links in pip's configuration. See README, Installation.
# PYTHON        interpreter to build the environment with
# PYTEST_ARGS   passed on to pytest, for example PYTEST_ARGS="tests/physics -x"
# TAG           of the release, for `make release-check`: v<version>; empty before it is tagged
# SLURM_STUDY   folder of the study of `make test-slurm`; made anew

PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
VENV ?= .venv
TORCH_INDEX ?=
PYTEST_ARGS ?=
TAG ?=
OUT ?= out
SLURM_STUDY ?= $(or $(TMPDIR),/tmp)/mrspec_prep-slurm-study
N_PROCS ?= $(shell nproc 2>/dev/null || echo 1)

BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXAMPLE := bids_examples/zebra_t2star-adc
EXAMPLE_MASKS := $(EXAMPLE)/derivatives/masks

# the same thread settings everywhere: nodes are the unit of parallel work, not BLAS
export NO_ET := 1
export OMP_NUM_THREADS ?= 1
export MPLBACKEND ?= Agg
# modules are compiled once, not by every process that a test starts
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install example examples test test-hpc test-slurm lint docs docs-pictures release-check clean

help:
	@echo "make example   set up, run the main job on $(EXAMPLE), name the report"
	@echo "make test      set up, run the tests"
	@echo "make test-hpc  the tests that need dask (extra hpc)"
	@echo "make test-slurm  a small study on a real Slurm brought up here, a node killed on the way (as root; see its words)"
	@echo "make docs      this program's documentation, site/index.html"
	@echo "make release-check  is this tree fit to be released: versions, sdist, wheel in a fresh environment"
	@echo "make examples  write bids_examples/ again (byte-identical)"
	@echo "make lint      ruff and mypy"
	@echo "make clean     remove $(VENV), build products and $(OUT)"

install: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 found; name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make virtual environments; on Debian or Ubuntu install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) \
		-c constraints.txt -e '.[test]'
	@touch $@

example: $(READY)
	$(BIN)/mrspec_prep $(EXAMPLE) $(OUT) participant --derivatives masks=$(EXAMPLE_MASKS) --nprocs $(N_PROCS) --random-seed 1
	@echo "Report of the first participant: $(OUT)/sub-01.html"
	@test -s $(OUT)/sub-01.html

test: $(READY)
	$(BIN)/python -m pytest -m "long or not long" $(PYTEST_ARGS)

test-hpc: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,hpc]'
	$(BIN)/python -m pytest tests/interfaces/test_dask_cluster.py tests/interfaces/test_dask_shards.py $(PYTEST_ARGS)

test-slurm: $(READY)
	$(BIN)/python -m benchmarks.slurm_study $(SLURM_STUDY)

docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Documentation: site/index.html"

docs-pictures: $(READY)
	$(BIN)/mrspec_prep $(EXAMPLE) $(OUT) participant --derivatives masks=$(EXAMPLE_MASKS) --random-seed 1
	$(BIN)/mrspec_prep $(EXAMPLE) $(OUT)/five participant --derivatives masks=$(EXAMPLE_MASKS) --random-seed 1 \
		--participant-label 01 --set inspect.n_clusters=5
	$(BIN)/python -m docs.builder.pictures $(OUT) $(OUT)/five

release-check: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt build
	$(BIN)/python -m release.check $(if $(TAG),--tag $(TAG))

examples: $(READY)
	$(BIN)/python bids_examples/make_examples.py

lint: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist site *.egg-info $(OUT) .pytest_cache .ruff_cache .mypy_cache
