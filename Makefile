# Every target sets up what it needs, once. `make help` lists them.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
PIP := -m pip --disable-pip-version-check --quiet
SDKS := .venvs/sdk-old/.done .venvs/sdk-new/.done .venvs/js/.done .venvs/node-22/.done .venvs/node-24/.done
TESTS ?= tests
# Compiled tests are kept, so that each worker does not compile all of them.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run talk test check wheel format lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1  \t/p' Makefile

run: $(VENV)/.done ## set up, then open the screen: the example agent, the embedded server, one test job
	$(BIN)/agent-tui examples/native_agent.py --local --dispatch 1

talk: $(VENV)/.done .venvs/sdk-new/.done ## set up, then talk to an example agent: no keys, no microphone
	$(BIN)/agent-tui examples/talk_agent.py --python .venvs/sdk-new/bin/python --local --talk

test: $(VENV)/.done sdks ## set up, then run all tests
	$(BIN)/python -m compileall -q agent_tui
	$(BIN)/python -m pytest -n 3 --dist worksteal $(TESTS)

check: ## run everything that CI runs
	$(MAKE) --jobs 3 --output-sync lint sdks compiled
	$(MAKE) test

.PHONY: sdks
sdks: $(SDKS)

# Tests as their workers load them, with pytest's asserts; downloads leave time for it. What fails here fails
# in `test`, which prints it.
.PHONY: compiled
compiled: $(VENV)/.done
	$(BIN)/python -m compileall -q agent_tui
	$(BIN)/python -m pytest --collect-only -q $(TESTS) >/dev/null || true

.PHONY: lint
lint: $(VENV)/.done ## check formatting, lint rules, types, and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

wheel: $(VENV)/.done ## build dist/lk_agent_tui-….whl, to install with uv, pipx, or pip
	rm -f dist/*.whl
	$(BIN)/python $(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

format: $(VENV)/.done ## format, and apply the automatic fixes of the linters
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

lock: $(VENV)/.done ## pin the newest allowed dependencies, with hashes and without index addresses
	$(BIN)/python $(PIP) install uv
	for name in run dev sdk-old sdk-new node-22 node-24; do \
		case $$name in \
			run) source=pyproject.toml ;; \
			dev) source="pyproject.toml --group dev --constraint requirements/run.txt" ;; \
			*) source=requirements/$$name.in ;; \
		esac; \
		$(BIN)/uv pip compile $$source --upgrade --universal --python-version 3.11 --generate-hashes \
			--no-emit-index-url --no-emit-find-links --no-annotate --quiet \
			--custom-compile-command 'make lock' -o requirements/$$name.txt || exit 1; \
	done
	for folder in tests/node examples; do \
		(cd $$folder && npm install --package-lock-only --omit-lockfile-registry-resolved --silent) || exit 1; \
	done

clean: ## remove the virtual environments
	rm -rf $(VENV) .venvs

$(VENV)/.done: requirements/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "agent-tui needs Python 3.11 or newer: install it, or name it with make PYTHON=…"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) install --require-hashes -r requirements/dev.txt
	$(BIN)/python $(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

.venvs/sdk-%/.done: requirements/sdk-%.txt
	$(PYTHON) -m venv .venvs/sdk-$*
	.venvs/sdk-$*/bin/python $(PIP) install --require-hashes -r $<
	touch $@

# Newer Nodes for the tests of agents-js files, from wheels.
.venvs/node-%/.done: requirements/node-%.txt
	$(PYTHON) -m venv .venvs/node-$*
	.venvs/node-$*/bin/python $(PIP) install --require-hashes -r $<
	touch $@

# Without Node, tests that need it are skipped, with the reason.
.venvs/js/.done: tests/node/package-lock.json
	mkdir -p .venvs/js
	if command -v npm >/dev/null; then \
		cp tests/node/package.json tests/node/package-lock.json .venvs/js/ && \
		cd .venvs/js && npm ci --silent --no-audit --no-fund --ignore-scripts; fi
	touch $@
