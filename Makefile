# make lenet     train LeNet-5 on MNIST with NumPy alone, and say how accurate it is
# make test      run the tests, in minutes (installs PyTorch: the oracle that gradients are compared with)
# make test-all  run all of them, with all examples, ranks on MPI and every CUDA source compiled: a quarter of an hour on two cores
# make test-gpu  the tests that a GPU is for (CUDA=12 where the driver is too old for 13)
# make check     lint, formatting, types, layering
# make bench     measure, beside other libraries, for half an hour
# make docs      build the site into build/docs: a minute (start at build/docs/index.html)
# make notebooks write the pages of docs/ as notebooks into build/notebooks
# make oracle    compare every op with PyTorch for an hour
# make wheels    build the sdist, the wheel for all platforms, and one with compiled kernels for each of five, in dist/
# make release-check  build all that a release uploads, check it, and install and train with it in fresh environments
# make campaign  kill, fuzz, leak, interrupt, race, and attack it, many times (CAMPAIGN=kill COUNT=100 SEED=0 for a part)

PYTHON ?= python3
CUDA ?= 13
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

# What the tests start would compile the package anew each time where the environment forbids bytecode.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: lenet test test-all test-gpu check accuracy bench docs notebooks oracle wheels release-check campaign clean

lenet: .venv/.train
	$(BIN)/tinyconv train lenet5 --data mnist --epochs 5 --seed 0

# A process for each core.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist worksteal

test: .venv/.test
	$(PYTEST)

test-all: .venv/.mpi
	$(PYTEST) --all

test-gpu: .venv/.test
	$(PIP) --editable '.[train,cuda$(CUDA)]'
	$(BIN)/python -m pytest -m gpu

check: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layering.py

accuracy: .venv/.train
	$(BIN)/python benchmarks/accuracy.py
	$(BIN)/python benchmarks/tables.py

# The others that we compare with need an environment of their own; what cannot be installed is left out.
bench:
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[train,pictures]' torch
	for library in jax tinygrad mygrad autograd scipy; do \
		.venv-bench/bin/python -m pip install --quiet --constraint constraints.txt $$library || true; \
	done
	for benchmark in lenet cifar conv ops; do .venv-bench/bin/tinyconv bench $$benchmark; done
	.venv-bench/bin/python benchmarks/fast_recipe.py
	.venv-bench/bin/python benchmarks/tables.py --plots

docs: .venv/.docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet --jobs auto docs build/docs
	@echo build/docs/index.html

notebooks: .venv/.docs
	$(BIN)/python docs/_ext/notebooks.py build/notebooks
	@echo build/notebooks/tour.ipynb

oracle: .venv/.test
	$(BIN)/python -m pytest tests/ops/test_ops_spaces.py tests/optim --all \
		--numprocesses auto --dist worksteal --hypothesis-profile=deep --hypothesis-seed=0 \
		--record=benchmarks/records/oracle-deep.json
	$(BIN)/python benchmarks/judges.py
	$(BIN)/python benchmarks/tables.py

# zig compiles for all platforms here; what it needs is already installed, so no build is isolated.
wheels: .venv/.train
	$(PIP) build hatchling hatch-fancy-pypi-readme ziglang
	$(BIN)/python -m build --no-isolation
	for platform in linux-x86_64 linux-aarch64 macos-arm64 macos-x86_64 windows-x86_64; do \
		TINYCONV_WHEEL=$$platform $(BIN)/python -m build --no-isolation --wheel || exit 1; \
	done

# What lies in dist/ from before is of another version, or of other sources.
release-check:
	rm -rf dist
	$(MAKE) wheels
	$(PIP) twine check-wheel-contents
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/python tests/installed.py dist

campaign: .venv/.test
	PYTHONPATH=tests $(BIN)/python -m campaigns $(CAMPAIGN) --seed $(or $(SEED),0) $(if $(COUNT),--count $(COUNT),--record)
	$(if $(CAMPAIGN)$(COUNT),,$(BIN)/python benchmarks/tables.py)

.venv/.train: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tinyconv needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable '.[train,pictures,studio]'
	touch $@

# pip older than 25.1 does not know dependency groups, hence the names.
.venv/.test: .venv/.train
	$(PIP) pytest pytest-xdist hypothesis torch onnx onnxruntime onnxscript expecttest ruff mypy pyright \
		playwright axe-playwright-python sphinx furo myst-parser jupytext nbclient ipykernel
	$(PIP) --no-deps torchvision  # what it needs is here, and its own PyTorch would be one for CUDA
	touch $@

# For ranks on MPI. Where the package index has no wheels of it for this platform, those tests are skipped.
.venv/.mpi: .venv/.test
	$(PIP) mpi4py mpich || echo 'no MPI: its tests are skipped'
	touch $@

.venv/.docs: .venv/.train
	$(PIP) onnx sphinx furo myst-parser jupytext
	touch $@

clean:
	rm -rf build dist .venv .venv-bench .hypothesis .mypy_cache .pytest_cache .ruff_cache
