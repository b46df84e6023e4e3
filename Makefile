# Every target sets up what it needs. PYTHON is the interpreter that the virtual environment is made from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := examples/demo/pipelines.toml
PORT ?= 8080

# An offline machine may offer wheels in the folder that pip knows as PIP_FIND_LINKS; uv reads another name.
export UV_FIND_LINKS := $(PIP_FIND_LINKS)
# Models come from installed packages or named folders: the demo and the tests never call a hub.
OFFLINE := HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 TOKENIZERS_PARALLELISM=false
# Tests start hundreds of processes, and each would compile torch anew where an image forbids to keep bytecode. Threads
# that wait (of torch, FAISS, numpy) sleep instead of spinning: another worker needs the core.
TESTING := $(OFFLINE) PYTHONDONTWRITEBYTECODE= OMP_WAIT_POLICY=PASSIVE OPENBLAS_THREAD_TIMEOUT=4
WORKERS ?= 2

.PHONY: setup demo check test bench label-studio wheel lock clean

setup: $(STAMP)  ## .venv from the lock: CPU torch where that is offered, CUDA torch elsewhere

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $(STAMP)

demo: setup  ## the whole pipeline on hand-written data: no key, no network, CPU
	$(OFFLINE) $(BIN)/curate run -c $(DEMO)
	@echo
	$(BIN)/curate status -c $(DEMO)
	@echo
	@echo "Three corrections ([-removed-] {+added+}):"
	@echo
	@$(BIN)/curate show triples --changed --limit 3 -c $(DEMO)
	@echo
	@echo "Look next at:"
	@echo "  runs/demo/releases/                             the release, with its card and manifest"
	@echo "  $(BIN)/curate show verdicts -c $(DEMO)     why rows were dropped, and for which twin"
	@echo "  $(BIN)/curate show corrected -c $(DEMO)    what the freshly trained Aligner writes"
	@echo "  docs/                                           a page for each stage"

check: setup  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup  ## all tests, WORKERS at once; those that need a GPU or real data say so where they are skipped
	$(TESTING) $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

bench: setup  ## every benchmark, with peers and limits in the same run
	for file in bench/*.py; do $(OFFLINE) $(BIN)/python $$file || exit 1; done

label-studio: setup  ## a Label Studio on this machine until Ctrl-C; PORT=8080, data in runs/label-studio
	$(BIN)/python -m annotators.label_studio.local --home runs/label-studio --port $(PORT)

wheel: setup  ## build, install without extras in a clean environment, smoke test
	rm -rf dist && $(BIN)/hatchling build
	$(PYTHON) -m venv dist/venv
	$(BIN)/uv pip install --quiet --python dist/venv/bin/python -c requirements.lock dist/*.whl
	cp -r examples dist/examples
	dist/venv/bin/curate --help > /dev/null
	dist/venv/bin/curate run --stage filter -c dist/$(DEMO)
	! dist/venv/bin/python -c "import torch" 2> /dev/null
	@echo "the wheel installs without extras, and filters"

lock: setup  ## resolve the newest versions anew; torch without a local version, so that one lock serves all machines
	$(BIN)/uv pip compile --quiet --upgrade pyproject.toml --extra llm --extra embed --extra offline-model \
	  --extra train --extra lora --extra tensorboard --extra serve --extra hub --extra label-studio --extra dev --no-header --no-annotate --python-version 3.11 -o requirements.lock
	sed -i 's/^\(torch==[0-9.]*\)+.*/\1/' requirements.lock

clean:
	rm -rf $(VENV) dist runs .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
