# Everything runs in .venv, which is made once and brought up to date when pyproject.toml changes.
# Wanted: Python 3.11 or later as python3 (or say make PYTHON=…), and the network for the first time.

PYTHON ?= python3
BIN := .venv/bin
FOLDERS := framework analysis training plugins
PACKAGES := $(FOLDERS:%=-p metamery.%)

.PHONY: demo train-demo bench test check lint types docs clean

DATA ?= torchvision/CIFAR10

demo: .venv/demo
	$(BIN)/metamery demo

# Its dependencies, which torchattacks does not need for what is used here, would take others back by years.
train-demo: .venv/demo
	$(BIN)/python -m pip install --quiet --no-deps torchattacks
	PATH="$(CURDIR)/$(BIN):$$PATH" examples/robustness.sh $(DATA)

# A process for each core, up to eight, of one thread: two cores take about half the time that way.
# Published data are looked for in METAMERY_TEST_DATA, or ../shared/data; without them some tests skip.
test: .venv/test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

SIZE ?= small

# With PICTURES=FOLDER also those benchmarks that need pictures, CLASS/FILE; with SIZE=full for half a day.
bench: .venv/test
	$(BIN)/python benchmarks/suite.py --size $(SIZE) $(if $(PICTURES),--pictures "$(PICTURES)")

check: lint types test

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# On a built wheel: an editable install hides from mypy which folder is which package.
types: .venv/test
	rm -rf build .venv/types
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --target .venv/types .
	rm -rf build
	cd .venv/types && MYPYPATH=. ../bin/mypy --config-file ../../pyproject.toml $(PACKAGES)

docs: .venv/docs
	rm -rf build/site site
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -c docs -d build/doctrees . build/site
	mv build/site site

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$@ -m pip install --quiet --upgrade pip "setuptools>=77"

.venv/demo: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --editable ".[demo]"
	touch $@

.venv/test: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --editable ".[test]" --group peers
	$(BIN)/python -m pip install --no-deps --group peers-alone
	touch $@ .venv/demo .venv/docs

.venv/docs: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --editable ".[docs]"
	touch $@

clean:
	rm -rf .venv build site *.egg-info
