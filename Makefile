PYTHON ?= python3
BIN := .venv/bin
CONFIG ?= training/configs/custom_net_8.toml
MODEL ?= $(basename $(notdir $(CONFIG)))
DATA ?= ../shared/data

.DEFAULT_GOAL := help
.PHONY: help serve test lint format train export evaluate evaluate-crops train-env clean

help: ## say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

serve: .venv/.runtime ## run the service at HOST:PORT, 127.0.0.1:5000 unless set
	@$(BIN)/flask --app wsgi db upgrade
	@exec $(BIN)/gunicorn -c docker/gunicorn.conf.py wsgi:app

test: .venv/.dev ## run all tests that this machine has the parts for
	$(BIN)/python -m pytest --cov

lint: .venv/.dev ## check style, types and walls
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.dev ## rewrite the code in its style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train: .venv/.train ## train CONFIG on DATA/ferplus, or go on where it was interrupted
	$(BIN)/python -m training.train $(CONFIG) --data $(DATA)/ferplus

export: .venv/.train ## write the trained CONFIG to models/ as ONNX with a card
	$(BIN)/python -m training.export $(CONFIG) --data $(DATA)/ferplus
	$(BIN)/python -m evaluation.accuracy models/$(MODEL) --data $(DATA)/ferplus --write
	$(BIN)/python -m evaluation.crops models/$(MODEL) --data $(DATA) --write

evaluate: .venv/.runtime ## print how right models/MODEL is on the validation split
	$(BIN)/python -m evaluation.accuracy models/$(MODEL) --data $(DATA)/ferplus

evaluate-crops: .venv/.runtime ## print how right models/MODEL is on photographs, by crop scale
	$(BIN)/python -m evaluation.crops models/$(MODEL) --data $(DATA)

train-env: .venv/.train ## install what training needs (torch) into .venv

clean: ## remove what make has made, but no data and no runs
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage htmlcov

.venv/bin/python:
	$(PYTHON) -m venv .venv

# A stamp for each requirements file: installed once, and again when the file changes.
.venv/.runtime: requirements.txt | .venv/bin/python
	@echo "installing requirements.txt into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/.dev: requirements-dev.txt .venv/.runtime
	@echo "installing requirements-dev.txt into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

.venv/.train: requirements-train.txt .venv/.runtime
	@echo "installing requirements-train.txt into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-train.txt
	@touch $@
