# make run    start everything and print the address
# make worker watch the cameras of a site for a portal elsewhere: make worker PORTAL=https://... KEY=...
# make check  the fast part of the tests: style, types, imports between packages, migrations, unit tests
# make test   everything, with real services and a real browser
# make test-slow   what runs for minutes: training, soak tests, kills
# make lock   write the hashes of all packages into the lists of exact versions, after one was changed
# make try    fetch what /try/ needs to run the model in a browser (npm; 14 MB)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# `make run DEMO=0 PORT=9000` and `PORT=9000 make run` mean the same: make passes on the variables on its command line.

# Each worker has its own DATA_DIR, database and Valkey; a file's tests stay together.
PARALLEL := -n $(or $(TEST_WORKERS),3) --dist loadfile --durations=10
FAST := tests/test_docs.py tests/test_supply.py tests/detection tests/cameras tests/portal -m "not stream and not slow"

# Measured by `make test` alone, as it costs half a minute. The floor is what the fast tests reach; it only rises.
COVERAGE_FLOOR := 86
COVERED := --cov --cov-report= --cov-fail-under=$(COVERAGE_FLOOR)

.PHONY: run worker words check static test quick whole test-slow clean install install-dev lock try

run: $(VENV)/.installed
	@exec $(BIN)/python -m portal.server.run

worker: $(VENV)/.installed
	@if [ -z "$(PORTAL)" ] || [ -z "$(KEY)" ]; then \
	    echo "Write make worker PORTAL=https://... KEY=..., with a key from the site's page “Workers”."; exit 2; fi
	@exec $(BIN)/python -m portal.server.run

install: $(VENV)/.installed

install-dev: $(VENV)/.installed-dev

$(VENV)/.installed: requirements.txt
	@sh portal/server/install.sh "$(PYTHON)" "$(VENV)" requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements-train.txt requirements-torch.txt $(VENV)/.installed
	@sh portal/server/install.sh "$(PYTHON)" "$(VENV)" requirements-dev.txt
	@sh portal/server/install.sh "$(PYTHON)" "$(VENV)" requirements-torch.txt
	@touch $@

lock: $(VENV)/.installed-dev
	@sh portal/server/lock.sh $(BIN)/uv requirements.txt requirements-train.txt requirements-dev.txt

# Without npm, scripts and styles are checked elsewhere; in CI npm must be present.
BIOME := $(if $(shell command -v npm),node_modules/.bin/biome,$(if $(CI),npm,echo Skipped, as there is no npm: biome))

node_modules/.installed: package-lock.json
	@if command -v npm >/dev/null; then npm ci --silent --no-audit --no-fund && touch $@; fi

# What is to be translated, and the catalogues that the portal reads.
words: $(VENV)/.installed
	$(BIN)/python manage.py makemessages
	$(BIN)/python manage.py compilemessages

check: static
	$(BIN)/python -m pytest -q $(PARALLEL) $(FAST)

static: $(VENV)/.installed-dev node_modules/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy detection cameras portal tests
	$(BIN)/djlint portal/templates --lint --quiet
	@$(BIOME) check --error-on-warnings
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run

test:
	@$(MAKE) --no-print-directory --output-sync=line -j 2 quick whole

# Beside the whole portals, which mostly wait, and behind them in the queue for the processors.
quick: static
	$(call TWICE,nice -n 10 $(BIN)/python -m pytest -q $(KEEP)/fast $(FAST),$(PARALLEL) $(COVERED))
	$(call TWICE,nice -n 10 $(BIN)/python -m tests.on_postgres -q $(KEEP)/postgres $(FAST),$(PARALLEL))
	$(call TWICE,nice -n 5 $(BIN)/python -m pytest -q $(KEEP)/streams $(STREAMS),-n 2 $(BY_FILE))

whole: static
	$(call TWICE,$(BIN)/python -m pytest -q $(KEEP)/whole $(WHOLE),-n 2 $(BY_FILE) --no-loadscope-reorder)

BY_FILE := --dist loadfile --durations=10
STREAMS := tests/cameras -m "stream and not slow"
WHOLE := tests/browser tests/system -m "not slow"

# What fails beside others is tried once more by itself: a fault of the product fails again, a second that another
# process took does not. Both runs are in the output. $1 is the command, $2 how it runs beside others.
KEEP := -o cache_dir=.pytest_cache
TWICE = $1 $2 --cache-clear || { echo "Once more, alone, what failed beside others:"; $1 --lf --lfnf none; }

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q --durations=10 -m slow tests

# The part of onnxruntime-web that runs models in WebAssembly on one thread.
ORT := onnxruntime-web@1.30.0
ORT_FILES := ort.wasm.min.mjs ort-wasm-simd-threaded.mjs ort-wasm-simd-threaded.wasm

try: portal/static/ort/.fetched

portal/static/ort/.fetched:
	@mkdir -p portal/static/ort
	@cd portal/static/ort && npm pack --silent $(ORT) >/dev/null \
	    && tar xzf onnxruntime-web-*.tgz --strip-components=2 $(ORT_FILES:%=package/dist/%) \
	    && rm onnxruntime-web-*.tgz
	@touch $@
	@echo "Fetched. Start the portal again, then open /try/."

clean:
	rm -rf $(VENV)
