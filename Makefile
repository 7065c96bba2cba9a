PYTHON ?= python3
BIN := .venv/bin
CONFIG ?= training/configs/custom_net_8.toml
# Output folders: the keys of the table [export] in CONFIG.
EXPORTED = $(shell sed -n '/^\[export\]/,/^$$/s/^"\(.*\)" *=.*/\1/p' $(CONFIG))
TASK = $(shell sed -n 's/^task = "\(.*\)"/\1/p' $(CONFIG))
EVALUATE_TARGETS_faces = evaluate-detectors
EVALUATE_TARGETS_scenes = evaluate-single-shot evaluate-detectors
EVALUATE_TARGETS = $(or $(EVALUATE_TARGETS_$(TASK)),evaluate evaluate-field speed)
# Models to evaluate. Default: every model in models/.
MODELS ?=
DATA ?= ../shared/data
# Number of test processes.
JOBS ?= auto
# Number of processes for tests that wait most of the time.
WAITING_JOBS ?= 4
# Whether `make test` measures the coverage: not empty for yes.
COVERAGE ?= $(filter true,$(CI))
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Environment markers make one lock file valid for Python 3.11 and later on every platform.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock' --output-file requirements.lock

.DEFAULT_GOAL := help
.PHONY: help serve test lint audit format train pack distil export evaluate evaluate-field evaluate-detectors evaluate-single-shot evaluate-wild evaluate-mood evaluate-valence evaluate-shapes evaluate-formats speed bench bench-growth faults soak fuzz attack lock lock-upgrade screenshots train-env clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

serve: .venv/.runtime ## run the service at HOST:PORT (default 127.0.0.1:5000)
	@PATH="$(CURDIR)/$(BIN):$$PATH" exec docker/serve

# Three parts: tests that use the CPU; tests that wait, of which several run at a time; and serial
# tests, which measure short times and run alone. The last two import only the files with their tests.
# CI measures the coverage of all parts, which doubles the CPU time of many tests; the last part
# checks it. Parallel tests use one thread of OpenMP each, because more threads wait for each other.
test: .venv/.dev ## run every test whose dependencies are installed, one process per CPU
	@status=0; \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not waits and not serial' --numprocesses $(JOBS) --dist worksteal \
		$(if $(COVERAGE),--cov --cov-report= --cov-fail-under=0) || status=$$?; \
	$(BIN)/python -m pytest -m waits --numprocesses $(WAITING_JOBS) --dist loadfile \
		$(if $(COVERAGE),--cov --cov-append --cov-report= --cov-fail-under=0) \
		$$(grep -rl --include='*.py' 'pytest\.mark\.waits' tests) || status=$$?; \
	$(BIN)/python -m pytest -m serial $(if $(COVERAGE),--cov --cov-append) \
		$$(grep -rl --include='*.py' 'pytest\.mark\.serial' tests) || status=$$?; \
	exit $$status

lint: .venv/.dev ## check style, types, import contracts, the Dockerfile and security (bandit)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive --severity-level low app client/src migrations docker wsgi.py
	$(BIN)/hadolint docker/Dockerfile

audit: .venv/.dev ## check the locked packages for known vulnerabilities (needs the network)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.7,<3'
	$(BIN)/pip-audit --strict --disable-pip --require-hashes -r requirements.lock

lock: .venv/.lock ## update requirements.lock after a change to requirements.txt, without other upgrades
	$(LOCK) requirements.txt

lock-upgrade: .venv/.lock ## upgrade requirements.lock to the newest versions that requirements.txt allows
	$(LOCK) --upgrade requirements.txt

format: .venv/.dev ## format the code and apply automatic lint fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train: .venv/.train ## train CONFIG on DATA; resume an interrupted run
	$(BIN)/python -m training.train $(CONFIG) --data $(DATA)

pack: .venv/.train ## collect the training faces of classifiers in runs/faces
	$(BIN)/python -m training.pack --data $(DATA)

distil: .venv/.train ## train the teacher networks, then CONFIG as their student
	$(BIN)/python -m training.distil $(CONFIG)

export: .venv/.train ## export the trained CONFIG to models/ (ONNX and cards) and evaluate the models
	$(BIN)/python -m training.export $(CONFIG) --data $(DATA)
	@$(MAKE) --no-print-directory $(EVALUATE_TARGETS) MODELS="$(EXPORTED)"

evaluate: .venv/.evaluate ## evaluate MODELS on the validation split; writes cards, charts, docs/models.md
	$(BIN)/python -m evaluation.accuracy $(MODELS) --data $(DATA)/ferplus --write
	$(BIN)/python -m evaluation.compare

evaluate-field: .venv/.runtime ## evaluate MODELS on portraits of another data set, by crop scale; writes cards, docs/models.md
	$(BIN)/python -m evaluation.field $(MODELS) --data $(DATA) --write
	$(BIN)/python -m evaluation.compare

evaluate-detectors: .venv/.evaluate ## evaluate the detectors, alone and with a classifier; writes docs/detectors.md
	$(BIN)/python -m evaluation.detection --data $(DATA) --write

evaluate-single-shot: .venv/.evaluate ## compare the single-shot network with detector and classifier; writes docs/single-shot.md
	$(BIN)/python -m evaluation.single_shot --data $(DATA) --write

evaluate-wild: .venv/.evaluate ## evaluate all detectors and models on faces in web photographs; writes docs/wild.md, cards
	$(BIN)/python -m evaluation.wild --data $(DATA) --write
	$(BIN)/python -m evaluation.compare

evaluate-mood: .venv/.evaluate ## evaluate the mood of groups, by aggregator and filter; writes docs/mood.md
	$(BIN)/python -m evaluation.mood --data $(DATA) --write

evaluate-valence: .venv/.runtime ## compare valence and arousal with ratings of images; writes docs/valence.md
	$(BIN)/python -m evaluation.valence --data $(DATA) --write

evaluate-shapes: .venv/.runtime ## evaluate detectors on wide, tall and rotated images; writes a block of docs/detectors.md
	$(BIN)/python -m evaluation.shapes --data $(DATA) --write

evaluate-formats: .venv/.dev ## compare the image decoder with OpenCV and ImageMagick; writes docs/image-formats.md
	$(BIN)/python -m evaluation.formats --write

speed: .venv/.runtime ## measure run time per face and memory of MODELS; writes cards, docs/models.md
	$(BIN)/python -m evaluation.speed $(MODELS) --write
	$(BIN)/python -m evaluation.compare

bench: .venv/.dev ## benchmark the service under load, and compare with the upper bound of the machine
	$(BIN)/python -m benchmarks.service --data $(DATA)

bench-growth: .venv/.dev ## measure query times as the store grows to a million images
	$(BIN)/python -m benchmarks.growth

faults: .venv/.dev ## inject faults into workers, database and disk under load; check stored images (root on Debian)
	$(BIN)/python -m benchmarks.faults

soak: .venv/.dev ## send 10,000 mixed images and record the memory of the workers
	$(BIN)/python -m benchmarks.soak

fuzz: .venv/.dev ## send decompression bombs, 100,000 damaged images and 18,000 hostile requests (30 minutes)
	$(BIN)/python -m fuzzing.bombs
	@mkdir -p runs
	$(BIN)/python -m fuzzing 2>runs/fuzz.log

attack: .venv/.dev ## attack a running service and check that memory, times and responses stay within limits (at most 10 minutes)
	$(BIN)/python -m attacks

screenshots: .venv/.dev ## take screenshots of the web page into docs/screenshots (needs Chromium)
	$(BIN)/python -m tests.web.screenshots

train-env: .venv/.train ## install the requirements of training (torch) into .venv

clean: ## remove .venv and caches; keep data and training runs
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage htmlcov build

.venv/bin/python:
	$(PYTHON) -m venv .venv

# Stamp files: requirements are installed again only after the file changes.
.venv/.runtime: requirements.lock | .venv/bin/python
	@echo "installing requirements.lock into .venv"
	@$(INSTALL) --require-hashes -r requirements.lock
	@touch $@

# pip requires hashes of all packages as soon as one has a hash, so the constraints have none.
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
