# Bare `make` prints what there is.
PYTHON ?= python3
# Files in the order that tests/conftest.py gives them: those that take long first.
PYTEST_ARGS ?= -n auto --dist loadfile --no-loadscope-reorder
# Not by file: a worker that the sanitizer ends must be replaced.
CHECKED_ARGS ?= -n auto
BENCH_ARGS ?=
ATTACK_ARGS ?=
# Which scenarios, seeds, how many runs, where to: `make lab LAB_ARGS=--help`.
LAB_ARGS ?=
# How long each of the engines and builds of `make fuzz` is fed.
FUZZ_SECONDS ?= 60
FUZZ_ARGS ?=
# How often `make properties` gives every test of a property other examples.
ROUNDS ?= 10
ROOMS ?=
MUTANTS_ARGS ?=

# The order of tests: of `make test`, that in which they are written unless this is set.
SEED ?=
# Every worker imports all tests, and many tests start Python again: compile each file once.
# One thread for linear algebra, as the command has: those of OpenBLAS wait for each other busily.
TESTING = OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=$(CURDIR)/build/pycache $(PYTHON) -m pytest
IN_ORDER = $(if $(SEED),--random-order-bucket=module --random-order-seed=$(SEED))
# Folders whose tests open no interface, start no program and wait for nothing (tests/conftest.py).
COMPUTING = tests/golden tests/properties tests/reference $(patsubst %,tests/unit/%,connections conversations decode flows model network requests where)
# What comes through the rooms that decide numbers, and takes minutes.
COVERING = $(patsubst %,tests/unit/%,connections model network requests) $(wildcard tests/unit/test_*.py) tests/reference/network \
	$(patsubst %,tests/reference/test_%.py,connections policing requests searching streams) \
	$(patsubst %,tests/properties/test_%.py,distribution intervals intervals_by_key policing sharding watching) \
	tests/truth/test_policing.py tests/truth/test_two_points.py
KERNEL_TESTS = $(wildcard tests/unit tests/reference tests/properties tests/fuzz)
# Of which `make test` tries a share, and `make checked` nothing.
LEFT = $(filter-out $(addsuffix /%,$(KERNEL_TESTS)),$(shell grep -rl --include='test_*.py' tests.support.thorough tests))
CHECKED = build/checked
ADDRESS = build/checked/address
FUZZ = $(PYTHON) -m tests.fuzz.run --seconds $(FUZZ_SECONDS) $(FUZZ_ARGS)

.DEFAULT_GOAL := help
.PHONY: help build layout reference accuracy policing stalls test thorough coverage mutants kernel-mutants check format checked lab usl-truth usl-server bench instructions bench-live bench-streams bench-scale workers carried soak docs wheel bare oldest random-order footprint release-check clean

help: ## Print this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Compile the kernels in place, those that changed (ROOMS=decode,requests for some rooms only)
	TCPSIGHT_ROOMS='$(ROOMS)' $(PYTHON) setup.py -q build_ext --inplace

layout: ## Write src/tcpsight/tables.pxd from tables.py
	$(PYTHON) tools/layout.py

reference: ## Write docs/reference/ from tables.py, the commands and the docstrings
	$(PYTHON) tools/reference.py

accuracy: build ## Write docs/methods/accuracy.md and the accepted differences from the corpus beside the repository
	$(PYTHON) -m tests.peers.accuracy

policing: build ## Simulate paths that police, shape or do neither; store how often that was found (POLICING_ARGS='--runs 80')
	PYTHONPATH=src $(PYTHON) -m tests.truth.policing.runs --store $(POLICING_ARGS)

test: build ## Run the tests (PYTEST_ARGS='-x tests/unit' to choose, SEED=7 for another order)
	$(TESTING) $(IN_ORDER) $(PYTEST_ARGS)

thorough: build ## Run whole the tests of which `make test` runs a share, but for those that `make checked` runs whole
	TCPSIGHT_THOROUGH=1 $(TESTING) $(IN_ORDER) $(PYTEST_ARGS) $(LEFT)

coverage: build ## Tell which lines and branches of requests, connections, network and model tests come through; fail below 95 % of branches
	mkdir -p build
	TCPSIGHT_THOROUGH=1 $(TESTING) -n auto --dist loadfile --cov --cov-report= $(COVERING)
	$(PYTHON) tools/branches.py

mutants: build ## Break the Python of those rooms, a sample of mutmut's changes, and see what tests notice (MUTANTS_ARGS='model/stalls --each 40')
	TCPSIGHT_THOROUGH=1 $(PYTHON) tools/mutants.py $(MUTANTS_ARGS)

kernel-mutants: ## Break the kernels of a room in the same way (MUTANTS_ARGS='network --count 60', see --help)
	TCPSIGHT_THOROUGH=1 $(PYTHON) tools/kernel_mutants.py $(MUTANTS_ARGS)

check: ## Lint, format check, types, import contracts, generated files
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) tools/layout.py --check
	$(PYTHON) tools/reference.py --check
	$(PYTHON) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()' --no-logo

format: ## Format the code, mend what ruff can mend
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

checked: ## Run the kernels' tests with bounds, overflow and undefined behaviour checks compiled in
	TCPSIGHT_CHECKED=1 $(PYTHON) setup.py -q build --build-base $(CHECKED) --build-lib $(CHECKED)/lib
	rm -f $(CHECKED)/sanitizer.*
	TCPSIGHT_CHECKED=1 TCPSIGHT_THOROUGH=1 PYTHONPATH=$(CHECKED)/lib \
		UBSAN_OPTIONS=print_stacktrace=1:log_path=$(CURDIR)/$(CHECKED)/sanitizer \
		$(TESTING) $(IN_ORDER) $(CHECKED_ARGS) $(KERNEL_TESTS) || { cat $(CHECKED)/sanitizer.* 2>/dev/null; exit 1; }

fuzz: fuzz-fast fuzz-guided fuzz-checked fuzz-address ## Feed hostile inputs to every build, each for FUZZ_SECONDS (FUZZ_ARGS=--store)

fuzz-fast: build
	PYTHONPATH=src $(FUZZ) --build fast

fuzz-guided: build
	PYTHONPATH=src $(PYTHON) -m tests.fuzz.guided --seconds $(FUZZ_SECONDS) $(FUZZ_ARGS)

fuzz-checked:
	TCPSIGHT_CHECKED=1 $(PYTHON) setup.py -q build --build-base $(CHECKED) --build-lib $(CHECKED)/lib
	PYTHONPATH=$(CHECKED)/lib UBSAN_OPTIONS=print_stacktrace=1 $(FUZZ) --build checked

fuzz-address:
	TCPSIGHT_CHECKED=address $(PYTHON) setup.py -q build --build-base $(ADDRESS) --build-lib $(ADDRESS)/lib
	PYTHONPATH=$(ADDRESS)/lib LD_PRELOAD=$$($(CC) -print-file-name=libasan.so) \
		ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 PYTHONMALLOC=malloc $(FUZZ) --build address

properties: build ## Run the tests that Hypothesis feeds with random seeds, ten times or ROUNDS (FUZZ_ARGS=--store)
	PYTHONPATH=src $(PYTHON) -m tests.fuzz.properties --rounds $(ROUNDS) $(FUZZ_ARGS) -- $(PYTEST_ARGS)

properties-checked:
	TCPSIGHT_CHECKED=1 $(PYTHON) setup.py -q build --build-base $(CHECKED) --build-lib $(CHECKED)/lib
	TCPSIGHT_CHECKED=1 PYTHONPATH=$(CHECKED)/lib UBSAN_OPTIONS=print_stacktrace=1 \
		$(PYTHON) -m tests.fuzz.properties --build checked --rounds $(ROUNDS) $(FUZZ_ARGS) -- $(CHECKED_ARGS) $(KERNEL_TESTS)

attacks: build ## Attack at full size: floods of 5 million connections, long bombs; print memory and time (ATTACK_ARGS=--store)
	PYTHONPATH=src $(PYTHON) -m tests.fuzz.attacks $(ATTACK_ARGS)

lab: ## Record scenarios of known truth between two kernels; needs root (LAB_ARGS='--runs 60 --set A', see --help)
	PYTHONPATH=src $(PYTHON) -m tests.truth.lab.record $(LAB_ARGS)

usl-truth: build ## Ask of 500 simulated captures whether the truth lies inside the intervals of usl; store the answer (minutes)
	PYTHONPATH=src $(PYTHON) -m tests.truth.usl_coverage --store

compare-truth: build ## Compare 600 pairs of simulated captures, half of them slowed down by a tenth; store the verdicts (minutes)
	PYTHONPATH=src $(PYTHON) -m tests.truth.compare_runs --store

stalls: build ## Simulate 2,700 runs of servers that stall, slow down, or do not; store how often that was found (STALLS_ARGS='--runs 40')
	PYTHONPATH=src $(PYTHON) -m tests.truth.stalls.runs --store $(STALLS_ARGS)
	PYTHONPATH=src $(PYTHON) -m tests.truth.stalls.slow_runs --store $(STALLS_ARGS)
	PYTHONPATH=src $(PYTHON) -m tests.truth.stalls.lasting_runs --store $(STALLS_ARGS)
	PYTHONPATH=src $(PYTHON) -m tests.truth.stalls.loop_runs --store $(STALLS_ARGS)

usl-server: build ## Load a real server of known coefficients and ask usl for them; needs root; store the answer (minutes)
	PYTHONPATH=src $(PYTHON) -m tests.truth.usl_server.record --store

bench: build ## Compare the speed with tcpdump, tcptrace and all peers that are installed (BENCH_ARGS='--rounds 3 --store')
	$(PYTHON) benchmarks/bench.py $(BENCH_ARGS)
	PYTHONPATH=. $(PYTHON) -m benchmarks.peers $(BENCH_ARGS)

instructions: build ## Count the instructions that a segment costs and compare with before; needs valgrind (BENCH_ARGS=--store)
	PYTHONPATH=. $(PYTHON) -m benchmarks.instructions $(BENCH_ARGS)

bench-live: build ## Compare live capture with tcpdump: frames lost at the highest rate, CPU for each; needs root (BENCH_ARGS='--rounds 3 --store')
	$(PYTHON) benchmarks/live.py $(BENCH_ARGS)

bench-streams: build ## Compare `streams` with cat and tcpflow: list, search, open, extract (BENCH_ARGS='--rounds 5 --store')
	PYTHONPATH=src $(PYTHON) benchmarks/streams.py $(BENCH_ARGS)

bench-scale: build ## How cost grows: a million connections at once, a billion segments through a pipe (BENCH_ARGS='--store')
	PYTHONPATH=. $(PYTHON) -m benchmarks.scale $(BENCH_ARGS)

carried: build ## Compare by hash what a lake tells of real captures, cut anywhere: ingested one by one, or at once (minutes)
	PYTHONPATH=src $(PYTHON) -m benchmarks.carried --store $(BENCH_ARGS)

workers: build ## Compare by hash what one worker, several, and clusters tell of every capture of the corpus beside the repository (minutes)
	PYTHONPATH=src $(PYTHON) -m benchmarks.workers --store $(BENCH_ARGS)

soak: build ## Half an hour of live capture while servers, interface and receivers come and go; needs root (SOAK_ARGS='--seconds 1860 --store')
	PYTHONPATH=. $(PYTHON) -m benchmarks.soak $(SOAK_ARGS)

docs: ## Build the docs as a site into build/site, without network; warnings are errors
	$(PYTHON) -m mkdocs build --strict --clean

wheel: ## Build a wheel into dist/
	rm -f dist/*.whl
	$(PYTHON) -m build --wheel --outdir dist

bare: wheel ## Do the main job with the wheel where there is no compiler and no extra
	.ci/test-wheel $(PYTHON) dist/*.whl examples/mariadb-lock.pcap

oldest: wheel ## The same with the oldest version of each dependency that pyproject.toml allows
	$(PYTHON) tools/oldest.py > build/oldest.txt
	.ci/test-wheel $(PYTHON) dist/*.whl examples/mariadb-lock.pcap build/oldest.txt

random-order: build ## Run the tests that only compute in another order (SEED=7)
	$(TESTING) -n auto --random-order-bucket=global --random-order-seed=$(or $(SEED),$(shell date +%s)) $(COMPUTING)

footprint: wheel ## Measure what an installation weighs and what starting costs; write docs/methods/footprint.md
	$(PYTHON) tools/footprint.py dist/*.whl --store

release-check: ## Check that this can be released: version, changelog, sdist, wheel from it, metadata (RELEASE_ARGS=--unreleased)
	$(PYTHON) tools/release.py $(RELEASE_ARGS)

clean: ## Remove everything that was built
	rm -rf build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
