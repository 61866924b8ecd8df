# Two commands for newcomers: `make demo` and `make test`. Each makes its own environment in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint docs gallery dist clean

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

test: lint
	$(BIN)/pytest --numprocesses 2 --dist worksteal

# The site in docs/_build/html; warnings are errors, nothing is fetched.
docs: $(VENV)/installed
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

# Pictures and tables of the task pages, anew with the weights that are shipped now.
gallery: $(VENV)/installed
	$(BIN)/python scripts/make_gallery.py

# Wheel and sdist, each installed into an empty environment and tried there.
dist: $(VENV)/installed
	$(BIN)/python scripts/check_dist.py

clean:
	rm -rf $(VENV) demo dist build
