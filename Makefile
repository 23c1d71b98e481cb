# make lenet   train LeNet-5 on MNIST with NumPy alone, and say how accurate it is
# make test    run the tests (installs PyTorch: the oracle that gradients are compared with)
# make check   lint, formatting, types, layering
# make oracle  compare every op with PyTorch for an hour, and write docs/coverage.md

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: lenet test check accuracy oracle clean

lenet: .venv/.train
	$(BIN)/tinyconv train lenet5 --data mnist --epochs 5 --seed 0

test: .venv/.test
	$(BIN)/python -m pytest

check: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layering.py

accuracy: .venv/.train
	$(BIN)/python benchmarks/accuracy.py
	$(BIN)/python benchmarks/tables.py

oracle: .venv/.test
	$(BIN)/python -m pytest tests/ops/test_ops_spaces.py tests/optim --hypothesis-profile=deep --hypothesis-seed=0 \
		--record=benchmarks/records/oracle-deep.json
	$(BIN)/python benchmarks/judges.py
	$(BIN)/python benchmarks/coverage.py

.venv/.train: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tinyconv needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable '.[train]'
	touch $@

# pip older than 25.1 does not know dependency groups, hence the names.
.venv/.test: .venv/.train
	$(PIP) pytest hypothesis torch onnx expecttest ruff mypy
	touch $@

clean:
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache
