# Two commands for newcomers: `make demo` and `make test`. Each makes its own environment in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-web test-ray load faults fuzz lint docs gallery dist clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable . --group dev
	touch $@

demo: $(VENV)/installed
	$(BIN)/python scripts/demo.py $(PHOTO)

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# One thread a process: two processes with a pool of threads each wait for one another, twice as long.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist worksteal

# The extra `web` and what drives a browser, on top of the rest.
$(VENV)/web: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[web]" --group web
	touch $@

# The page and the HTTP API, in a real browser where there is one or apt-get can install it.
test-web: $(VENV)/web
	sh scripts/get_chromium.sh
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/web -rs

# The extra `ray`, on top of the rest.
$(VENV)/ray: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[ray]"
	touch $@

# Folders on a local cluster of two processes that are killed.
test-ray: $(VENV)/ray
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/inference/test_batch_ray.py -rs

# 200 clients, hostile files, cut and hanging connections against a real server; a table of what was lost.
load: $(VENV)/web
	$(BIN)/python scripts/load.py

# Kills, full disks, vanished files and broken weights while folders are restored; a table of what was lost.
faults: $(VENV)/installed
	$(BIN)/python scripts/faults.py
	UNDEGRADE_FAULTS=1 $(BIN)/pytest tests/engine/test_parallel.py

# The extra `onnx`, on top of the rest.
$(VENV)/onnx: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[onnx]"
	touch $@

# More than 10,000 damaged files of every kind through every reader; a table of what was lost.
fuzz: $(VENV)/onnx
	$(BIN)/python scripts/fuzz.py

# The site in docs/_build/html; warnings are errors, nothing is fetched.
docs: $(VENV)/installed
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

# Pictures and tables of the task pages, anew with the weights that are shipped now.
gallery: $(VENV)/installed
	$(BIN)/python scripts/make_gallery.py

# Wheel and sdist, installed into an empty environment and tried there.
dist: $(VENV)/installed
	$(BIN)/python scripts/check_dist.py

clean:
	rm -rf $(VENV) demo dist build
