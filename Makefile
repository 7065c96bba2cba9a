PYTHON ?= python3
BIN := .venv/bin
CONFIG ?= training/configs/custom_net_8.toml
# The folders that CONFIG is exported to, as its table [export] names them.
EXPORTED = $(shell sed -n '/^\[export\]/,/^$$/s/^"\(.*\)" *=.*/\1/p' $(CONFIG))
TASK = $(shell sed -n 's/^task = "\(.*\)"/\1/p' $(CONFIG))
MEASURES_faces = evaluate-detectors
MEASURES_scenes = evaluate-single-shot evaluate-detectors
MEASURES = $(or $(MEASURES_$(TASK)),evaluate evaluate-field speed)
# Models to measure; all that lie in models/ unless set.
MODELS ?=
DATA ?= ../shared/data
# Processes that run tests.
JOBS ?= auto
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# One file for every Python from 3.11 on and for every platform, by environment markers.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock' --output-file requirements.lock

.DEFAULT_GOAL := help
.PHONY: help serve test lint audit format train pack distil export evaluate evaluate-field evaluate-detectors evaluate-single-shot evaluate-wild evaluate-mood evaluate-valence evaluate-shapes evaluate-formats speed bench bench-growth faults soak fuzz attack lock lock-upgrade screenshots train-env clean

help: ## say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

serve: .venv/.runtime ## run the service at HOST:PORT, 127.0.0.1:5000 unless set
	@PATH="$(CURDIR)/$(BIN):$$PATH" exec docker/serve

# Tests that measure time, memory or a whole machine run by themselves after the others. Each part
# prints its twenty slowest tests. The second part fails when both together cover too little.
test: .venv/.dev ## run all tests that this machine has the parts for, as many at a time as it has CPUs
	@status=0; \
	$(BIN)/python -m pytest -m 'not serial' --numprocesses $(JOBS) --dist worksteal \
		--cov --cov-report= --cov-fail-under=0 || status=$$?; \
	$(BIN)/python -m pytest -m serial --cov --cov-append || status=$$?; \
	exit $$status

lint: .venv/.dev ## check style, types, walls, the Dockerfile and what bandit knows of holes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive --severity-level low app client/src migrations docker wsgi.py
	$(BIN)/hadolint docker/Dockerfile

audit: .venv/.dev ## check the locked packages for known vulnerabilities (needs the network)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.7,<3'
	$(BIN)/pip-audit --strict --disable-pip --require-hashes -r requirements.lock

lock: .venv/.lock ## update requirements.lock after a change of requirements.txt; keep other versions
	$(LOCK) requirements.txt

lock-upgrade: .venv/.lock ## lock the newest versions that requirements.txt allows
	$(LOCK) --upgrade requirements.txt

format: .venv/.dev ## rewrite the code in its style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train: .venv/.train ## train CONFIG on DATA, or go on where it was interrupted
	$(BIN)/python -m training.train $(CONFIG) --data $(DATA)

pack: .venv/.train ## collect the faces that classifiers learn from in runs/faces
	$(BIN)/python -m training.pack --data $(DATA)

distil: .venv/.train ## train the networks that teach and CONFIG, which learns from them
	$(BIN)/python -m training.distil $(CONFIG)

export: .venv/.train ## write the trained CONFIG to models/ as ONNX with cards, and measure them
	$(BIN)/python -m training.export $(CONFIG) --data $(DATA)
	@$(MAKE) --no-print-directory $(MEASURES) MODELS="$(EXPORTED)"

evaluate: .venv/.evaluate ## measure MODELS on the validation split; writes cards, pictures, docs/models.md
	$(BIN)/python -m evaluation.accuracy $(MODELS) --data $(DATA)/ferplus --write
	$(BIN)/python -m evaluation.compare

evaluate-field: .venv/.runtime ## measure MODELS on photographs, by crop scale; writes cards, docs/models.md
	$(BIN)/python -m evaluation.field $(MODELS) --data $(DATA) --write
	$(BIN)/python -m evaluation.compare

evaluate-detectors: .venv/.evaluate ## measure detectors on photographs, and the whole service; writes docs/detectors.md
	$(BIN)/python -m evaluation.detection --data $(DATA) --write

evaluate-single-shot: .venv/.evaluate ## measure the one-pass network beside detectors with a classifier; writes docs/single-shot.md
	$(BIN)/python -m evaluation.single_shot --data $(DATA) --write

evaluate-wild: .venv/.evaluate ## measure all systems on faces of web photographs; writes docs/wild.md, cards
	$(BIN)/python -m evaluation.wild --data $(DATA) --write
	$(BIN)/python -m evaluation.compare

evaluate-mood: .venv/.evaluate ## measure how often a group's mood is right, by aggregator and filter; writes docs/mood.md
	$(BIN)/python -m evaluation.mood --data $(DATA) --write

evaluate-valence: .venv/.runtime ## compare valence and arousal of faces with ratings of images; writes docs/valence.md
	$(BIN)/python -m evaluation.valence --data $(DATA) --write

evaluate-shapes: .venv/.runtime ## measure detectors on wide, tall and turned images; writes its part of docs/detectors.md
	$(BIN)/python -m evaluation.shapes --data $(DATA) --write

evaluate-formats: .venv/.dev ## compare the image reader with OpenCV and ImageMagick; writes docs/image-formats.md
	$(BIN)/python -m evaluation.formats --write

speed: .venv/.runtime ## measure what MODELS cost: milliseconds a face, memory; writes cards, docs/models.md
	$(BIN)/python -m evaluation.speed $(MODELS) --write
	$(BIN)/python -m evaluation.compare

bench: .venv/.dev ## measure the service under load, next to what the machine can do at most
	$(BIN)/python -m benchmarks.service --data $(DATA)

bench-growth: .venv/.dev ## measure how reading slows down as the store grows to a million images
	$(BIN)/python -m benchmarks.growth

faults: .venv/.dev ## break workers, database and disk under load, and count what is stored (root, on Debian)
	$(BIN)/python -m benchmarks.faults

soak: .venv/.dev ## send 10,000 mixed pictures and watch the workers' memory
	$(BIN)/python -m benchmarks.soak

fuzz: .venv/.dev ## send it bombs, 100,000 damaged pictures, 18,000 hostile requests and more: half an hour
	$(BIN)/python -m fuzzing.bombs
	@mkdir -p runs
	$(BIN)/python -m fuzzing 2>runs/fuzz.log

attack: .venv/.dev ## attack a running service and compare the effects with bars: ten minutes at most
	$(BIN)/python -m attacks

screenshots: .venv/.dev ## show the page in docs/screenshots (needs Chromium)
	$(BIN)/python -m tests.web.screenshots

train-env: .venv/.train ## install what training needs (torch) into .venv

clean: ## remove what make has made, but no data and no runs
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage htmlcov

.venv/bin/python:
	$(PYTHON) -m venv .venv

# A stamp for each requirements file: installed once, and again when the file changes.
.venv/.runtime: requirements.lock | .venv/bin/python
	@echo "installing requirements.lock into .venv"
	@$(INSTALL) --require-hashes -r requirements.lock
	@touch $@

# The locked versions without their hashes: with hashes, pip would demand a hash of every package
# that the other requirements files name.
.venv/.constraints: requirements.lock | .venv/bin/python
	@sed -n 's/^\([a-z].*[^ ]\) *\\$$/\1/p' requirements.lock >$@

.venv/.lock: | .venv/bin/python
	@echo "installing uv into .venv"
	@$(INSTALL) 'uv>=0.9,<1'
	@touch $@

.venv/.dev: requirements-dev.txt client/pyproject.toml .venv/.evaluate .venv/.constraints
	@echo "installing requirements-dev.txt into .venv"
	@$(INSTALL) -c .venv/.constraints -r requirements-dev.txt
	@touch $@

.venv/.evaluate: requirements-evaluate.txt .venv/.runtime .venv/.constraints
	@echo "installing requirements-evaluate.txt into .venv"
	@$(INSTALL) -c .venv/.constraints -r requirements-evaluate.txt
	@touch $@

.venv/.train: requirements-train.txt .venv/.evaluate .venv/.constraints
	@echo "installing requirements-train.txt into .venv"
	@$(INSTALL) -c .venv/.constraints -r requirements-train.txt
	@touch $@
