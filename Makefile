# mutua: what a newcomer types, and what CI calls.
#
#   make demo    set up, start a private mesh, walk through exercises 1 to 6, stop it
#   make test    set up and run the whole suite
#   make soak    1,000 changes of modes under load (about ten minutes)
#   make drill   CA rotations while things are killed (about ten minutes)
#   make check   format, lint, types, layers
#   make matrix  who reaches whom, in every combination of policies
#   make differential   more generated meshes than CI has time for
#   make bench   measure this machine

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header

.PHONY: demo test unit soak drill check matrix differential bench lock protos clean
.DELETE_ON_ERROR:

demo: $(VENV)/.run
	@$(BIN)/python examples/mtls-tutorial/walkthrough.py

test: $(VENV)/.dev
	@$(BIN)/pytest $(PYTEST_ARGS)

unit: $(VENV)/.dev
	@$(BIN)/pytest tests/unit $(PYTEST_ARGS)

soak: $(VENV)/.dev
	@MUTUA_FLIPS=1000 $(BIN)/pytest tests/mesh/test_order.py -s -o faulthandler_timeout=0 $(PYTEST_ARGS)

drill: $(VENV)/.dev
	@MUTUA_DRILL_SECONDS=600 $(BIN)/pytest tests/mesh/test_rotation_drill.py -s -o faulthandler_timeout=0 $(PYTEST_ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check src tests examples tools
	$(BIN)/ruff check src tests examples tools
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

matrix: $(VENV)/.dev
	@MUTUA_DEEP=1 $(BIN)/pytest tests/matrix $(PYTEST_ARGS)

differential: $(VENV)/.dev
	@MUTUA_DEEP=1 $(BIN)/pytest tests/differential tests/unit/xds/compile -o faulthandler_timeout=0 $(PYTEST_ARGS)

bench: $(VENV)/.run
	@$(BIN)/mutua bench

# The lock files pin every package with its hash; regenerate them after editing pyproject.toml.
lock:
	$(COMPILE) pyproject.toml --extra images --extra build -o requirements/run.lock
	$(COMPILE) pyproject.toml --extra images --extra build --extra dev -o requirements/dev.lock

protos:
	$(PYTHON) tools/protos.py

$(VENV)/bin/pip:
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "make: this Python cannot make virtual environments; on Debian: apt install python3-venv" >&2; exit 1; }

$(VENV)/.run: requirements/run.lock pyproject.toml | $(VENV)/bin/pip
	@echo "installing mutua and what it runs on (about 60 MB)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-input --require-hashes -r requirements/run.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.run
	@echo "installing the test tools"
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-input --require-hashes -r requirements/dev.lock
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
