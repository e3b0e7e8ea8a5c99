# make run    start everything and print the address
# make check  the fast part of the tests: style, types, arrows between rooms, migrations, unit tests
# make test   everything, with real services and a real browser
# make try    fetch what /try/ needs to run the model in a browser (npm; 14 MB)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# `make run DEMO=0 PORT=9000` and `PORT=9000 make run` mean the same.
export PORT BIND DATA_DIR REDIS_URL DATABASE_URL PUBLIC_URL ALLOWED_HOSTS SECRET_KEY EMAIL_URL DEFAULT_FROM_EMAIL TRUSTED_PROXIES DEMO CAMERA_NETWORKS HTTPS REQUIRE_TWO_FACTOR TRY LOG_LEVEL WORKER_NAME WORKER_CAPACITY WORKER_SITES FREE_DISK_FLOOR_MB

# Real streams at their real pace, and a tiny run of training: not for every commit.
SLOW := tests/cameras/sources/test_sources.py tests/cameras/setup/test_probe.py tests/detection/test_training.py

.PHONY: run check test clean install install-dev try

run: $(VENV)/.installed
	@exec $(BIN)/python -m portal.server.run

install: $(VENV)/.installed

install-dev: $(VENV)/.installed-dev

$(VENV)/.installed: requirements.txt
	@sh portal/server/install.sh "$(PYTHON)" "$(VENV)" requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@sh portal/server/install.sh "$(PYTHON)" "$(VENV)" requirements-dev.txt
	@touch $@

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy detection cameras portal
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python -m pytest -q tests/detection tests/cameras tests/portal $(SLOW:%=--ignore %)

test: check
	$(BIN)/python -m tests.on_postgres -q tests/cameras tests/portal $(SLOW:%=--ignore %)
	$(BIN)/python -m pytest -q $(SLOW)
	$(BIN)/python -m pytest -q tests/system tests/browser

# The part of onnxruntime-web that runs models by WebAssembly on one thread.
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
