# Everything a working copy needs; `make` alone lists it. Plain enough for GNU make 3.81.
#
# No recipe and no flag here deletes what a run made, data/out/ and .checkpoints/: answers cost money. That is why there
# is no .DELETE_ON_ERROR, why outputs are .PRECIOUS (make deletes other targets when it is interrupted), and why `clean`
# takes only the environment and caches.

PYTHON ?=
JOB ?=
ARGS ?=

bin := .venv/bin
created := .venv/.created
dependencies := .venv/.dependencies
installed := .venv/.installed
measuring := .venv/.measuring
readers := .venv/readers/.installed
mock_server := benchmarks/.build/server
tls_server := benchmarks/.build/server-tls
uv_install := uv pip install --quiet --python $(bin)/python
pip_install := $(bin)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.SUFFIXES:
.PHONY: help all again setup test acceptance browser notebook chaos crash soak cron schedulers test-ray test-readers \
    test-stores fuzz protections findings lint format docs demo dataset-demo run validate status wheel pins clean bench bench-full \
    bench-datasets bench-scale bench-peers bench-recovery bench-kills bench-structured bench-auto bench-scaling \
    bench-batch-kills bench-vllm bench-tls profile

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo '  make data/out/NAME.parquet  what configs/NAME.yaml says, where it or its input has changed or rows have failed'
	@echo '  make data/out/NAME/         the same for a job whose output is that directory'
	@echo '  make all -j4                every such job, four at a time; JOBS="NAME NAME" for some of them'
	@echo
	@echo '  JOB=job.yaml names the job file; ARGS="--set limits.concurrency=8" gives the command behind a target more flags;'
	@echo '  PYTHON=python3.12 picks the interpreter of the environment (3.11 or later; default: the newest found).'
	@echo
	@echo "  When a command fails, make ends with 2, and its last line (Error N) has the command's own exit code. Of run:"
	@echo '    1  a fault of the program'
	@echo '    2  the job, its input or a flag is wrong; nothing was sent'
	@echo '    3  finished; some rows failed'
	@echo '    4  stopped at a cost cap or the deadline'
	@echo '    5  the endpoint refuses the job (credentials, payment, model, quota, outage)'
	@echo '    6  the disk or the checkpoint failed; what was acknowledged is safe'
	@echo "    7  \`--no-wait\`: rows are waiting in a provider's batch"
	@echo '    75  another run of this job is under way; nothing was touched'
	@echo '    129, 130, 143  stopped by a signal (hangup, Ctrl-C, TERM); what was acknowledged is saved'
	@echo '  After 3, 4, 5, 6, 129, 130 and 143 the same command continues the job.'

setup: $(installed) ## Create .venv with the command and the tools
	@echo 'Ready: $(bin)/pipeline'

# One stamp for each step, each depending on the one before: safe under `make -j`, and a step that failed is done again.
$(created): .ci/venv
	.ci/venv .venv '$(PYTHON)'
	@touch $@

$(dependencies): requirements/dev.txt $(created)
	@set -x; if command -v uv >/dev/null; then \
	    $(uv_install) --compile-bytecode --require-hashes -r requirements/dev.txt; \
	else \
	    $(pip_install) --require-hashes -r requirements/dev.txt; \
	fi
	@touch $@

# Without isolation: hatchling is among the pinned tools, so nothing unpinned is fetched. The compilation is for shells
# that set PYTHONDONTWRITEBYTECODE, where every start would compile the package anew.
$(installed): pyproject.toml pipeline/__init__.py $(dependencies)
	@set -x; if command -v uv >/dev/null; then \
	    $(uv_install) --no-deps --no-build-isolation --editable .; \
	else \
	    $(pip_install) --no-deps --no-build-isolation --editable .; \
	fi
	@$(bin)/python -m compileall -q pipeline
	@touch $@

# With their files in memory, where there is a gigabyte for them: much of the time would be the waits for a disk. What
# pytest makes of the tests' source is kept, which a shell may forbid. Five workers keep two cores busy: tests wait too.
in_memory = $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 1048576 { print "TMPDIR=/dev/shm" }')
test: $(installed) ## The tests, in two or three minutes
	PYTHONDONTWRITEBYTECODE= $(in_memory) $(bin)/python -m pytest -n 5 --dist worksteal $(ARGS)

acceptance: $(installed) ## The long tests: whole jobs, killed and resumed
	$(bin)/python -m pytest tests/acceptance --timeout 1800 $(ARGS)

browser: $(installed) ## A report in a real browser; needs chromium
	$(bin)/python -m pytest tests/browser $(ARGS)

notebook: $(installed) ## The Python interface in a Jupyter kernel
	$(if $(shell command -v uv),$(uv_install),$(pip_install)) --require-hashes -r requirements/notebook.txt
	$(bin)/python -m pytest tests/notebook $(ARGS)

test-ray: $(installed) ## Jobs on a real Ray cluster: actors and nodes killed, `ray stop`; ten minutes
	$(if $(shell command -v uv),$(uv_install),$(pip_install)) --require-hashes -r requirements/ray.txt
	$(bin)/python -m pytest tests/ray --timeout 400 $(ARGS)

test-readers: $(installed) $(readers) ## The exports in datasets, TRL, OpenAI's client, pandas, Excel and LibreOffice
	$(bin)/python -m pytest tests/readers --timeout 600 $(ARGS)

# In an environment of its own: what reads our exports has other versions of what we run on.
$(readers): requirements/readers.txt requirements/readers-alone.txt $(created)
	$(bin)/python -m venv .venv/readers
	.venv/readers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/readers.txt
	.venv/readers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
	    -r requirements/readers-alone.txt
	@touch $@

test-servers: $(installed) ## Real servers at pinned versions, killed and restarted; installs them (6 GB); an hour
	$(bin)/python -m pytest tests/servers --timeout 3600 $(ARGS)

test-stores: $(installed) ## Jobs over object stores that others wrote, killed at every request; needs npm; half an hour
	$(if $(shell command -v uv),$(uv_install),$(pip_install)) --require-hashes -r requirements/stores.txt
	npm install --silent --no-save --prefix .venv/stores azurite@3.35.0 s3rver@3.7.1
	$(bin)/python -m pytest tests/stores --timeout 1800 $(ARGS)

chaos: $(installed) ## Every fault, random schedules by seed (CHAOS_SEEDS=0-99), 200 kills; a quarter of an hour
	$(bin)/python -m pytest tests/chaos --timeout 1800 $(ARGS)

.PHONY: batch-kills test-servers bench-servers
batch-kills: $(installed) ## A thousand SIGKILLs over jobs that buy by batches (BATCH_KILLS=100 for fewer); ten minutes
	BATCH_KILLS=$(or $(BATCH_KILLS),1000) $(bin)/python -m pytest tests/chaos/test_batch_kills.py --timeout 7200 $(ARGS)

crash: $(installed) ## SIGKILL, EIO, a full disk and power loss at every step; needs strace; a quarter of an hour
	$(bin)/python -m pytest tests/crash -n 2 --timeout 1800 $(ARGS)

soak: $(installed) ## An hour with 1% faults, memory flat (SOAK_SECONDS=600 for less)
	$(bin)/python -m pytest tests/soak --timeout 7200 $(ARGS)

cron: $(installed) ## Debian's cron at work for CRON_MINUTES=10, and the examples; needs root, cron, systemd, kubectl
	$(bin)/python -m pytest tests/cron -s $(ARGS)

schedulers: $(installed) ## The shards under a real Slurm, and the manifests for Kubernetes; needs root, slurm-wlm, munge
	$(if $(shell command -v uv),$(uv_install),$(pip_install)) --require-hashes -r requirements/schedulers.txt
	$(bin)/python -m pytest tests/schedulers -s --timeout 1800 $(ARGS)

fuzz: $(installed) ## Fuzz TARGET=replies or jobs with atheris; SECONDS=600 for longer
	$(if $(shell command -v uv),$(uv_install),$(pip_install)) --require-hashes -r requirements/fuzz.txt
	PYTHONPATH=. $(bin)/python tests/fuzz/fuzz.py $(or $(TARGET),replies) -max_total_time=$(or $(SECONDS),60) $(ARGS)

protections: $(installed) ## Remove each protection, in a copy, and show the test that fails; needs strace
	$(bin)/python tests/protections.py $(ARGS)

findings: ## Run the scripts on surprising behavior of other software; installs it, outside CI; forty minutes
	@status=0; for finding in findings/*.sh; do echo "$$finding"; $$finding || status=1; done; exit $$status

bench: $(measuring) $(mock_server) ## A table of the quick figures and their limits, in ten minutes at most
	$(bin)/python -m benchmarks quick $(ARGS)

bench-full: $(measuring) $(mock_server) ## The whole table, into docs/performance.md; an hour and a half
	$(bin)/python -m benchmarks full --document $(ARGS)

bench-tls: $(measuring) $(mock_server) $(tls_server) ## Ten thousand in flight over TLS, into docs/performance.md; five minutes
	$(bin)/python -m benchmarks tls --document $(ARGS)

bench-datasets: $(measuring) $(mock_server) ## Samples, images, exports and inspect of a million rows, into docs/performance.md
	$(bin)/python -m benchmarks datasets --document $(ARGS)

bench-scale: $(measuring) $(mock_server) ## Two million rows, and ten million done; hours, and 30 GB of disk
	$(bin)/python -m benchmarks scale --document $(ARGS)

bench-servers: $(measuring) $(mock_server) ## Batches, streams and several servers, into docs/performance.md; five minutes
	$(bin)/python -m benchmarks servers --document $(ARGS)

bench-peers: $(measuring) $(mock_server) ## Other tools with the same work, into docs/performance.md; an hour, and 10 GB of disk
	$(bin)/python -m benchmarks.peers --document $(ARGS)

bench-recovery: $(measuring) ## How soon refused rows are answered, compared with other tools, into docs/performance.md
	$(bin)/python -m benchmarks.recovery --document $(ARGS)

bench-kills: $(measuring) $(mock_server) ## What a kill costs, compared with other tools, into docs/performance.md
	$(bin)/python -m benchmarks.kills --document $(ARGS)

bench-batch-kills: $(measuring) ## What a kill costs a job that buys by batches, compared with other tools, into docs/performance.md
	$(bin)/python -m benchmarks.batch_kills --document $(ARGS)

bench-vllm: $(measuring) ## A run against vLLM on the CPU beside a bare loop, into docs/performance.md; installs it
	$(bin)/python -m benchmarks.vllm --document $(ARGS)

bench-structured: $(measuring) ## Answers that are objects, and one kill, compared with other tools, into docs/performance.md
	$(bin)/python -m benchmarks.structured_peers --document $(ARGS)

bench-auto: $(measuring) ## How good the number of requests in flight is that a run finds, into docs/performance.md
	$(bin)/python -m benchmarks.auto --document $(ARGS)

bench-scaling: $(measuring) $(mock_server) ## Shards and the plan for a billion rows, into docs/scaling.md; ten minutes
	$(bin)/python -m benchmarks.scaling --document $(ARGS)

profile: $(measuring) $(mock_server) ## Where a run spends its time (ARGS=--gil: only threads that hold the lock)
	$(bin)/python -m benchmarks.profile $(ARGS)

$(mock_server): benchmarks/server.c
	@command -v $(CC) >/dev/null || { echo 'The benchmarks need a C compiler; $(CC) is not here. Install one (Debian,' \
	    'Ubuntu: apt install gcc), or name another: make bench CC=clang' >&2; exit 1; }
	@mkdir -p $(@D)
	$(CC) -O2 -Wall -Wextra -o $@ $< -lm

$(tls_server): benchmarks/server.c $(mock_server)
	@echo '#include <openssl/ssl.h>' | $(CC) -E - >/dev/null 2>&1 || { echo 'This needs the headers of OpenSSL' \
	    '(Debian, Ubuntu: apt install libssl-dev)' >&2; exit 1; }
	$(CC) -DTLS -O2 -Wall -Wextra -o $@ $< -lm -lssl -lcrypto

$(measuring): requirements/bench.txt $(installed)
	$(if $(shell command -v uv),$(uv_install) --compile-bytecode,$(pip_install)) --require-hashes -r requirements/bench.txt
	@touch $@

lint: $(installed) ## ruff, mypy and the floors of the architecture
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports

format: $(installed) ## Fix and format the code
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

docs: $(installed) ## Write the pages and tables that are generated from the code, and the JSON Schema
	$(bin)/python docs/generate.py

demo: $(installed) ## A job on the simulator, killed halfway and finished by a second run
	@.ci/demo

dataset-demo: $(installed) ## A chain on the simulator: answers, marks, preference pairs, a folder for the hub
	+@MAKE='$(MAKE)' .ci/dataset-demo

# `exec` puts the command in the shell's place, so that a signal to make reaches it and it can drain.
run: $(installed) ## Run JOB from its present state
	@test -n '$(JOB)' || { echo 'Which job? Say: make run JOB=configs/demo.yaml' >&2; exit 2; }
	@exec $(bin)/pipeline run '$(JOB)' $(ARGS)

validate: $(installed) ## Check JOB without a call
	@test -n '$(JOB)' || { echo 'Which job? Say: make validate JOB=configs/demo.yaml' >&2; exit 2; }
	@exec $(bin)/pipeline validate '$(JOB)' $(ARGS)

status: $(installed) ## Show the status of JOB
	@test -n '$(JOB)' || { echo 'Which job? Say: make status JOB=configs/demo.yaml' >&2; exit 2; }
	@exec $(bin)/pipeline status '$(JOB)' $(ARGS)

# Jobs that are named in configs/ and whose output is data/out/NAME.parquet, or the directory data/out/NAME/: of that the
# manifest is the target.
JOBS ?= $(shell .ci/jobs)
output = data/out/$(1)$(if $(shell grep -sF 'data/out/$(1)/' configs/$(1).yaml),.manifest.json,.parquet)

all: $(installed) ## Every job in configs/ whose output is out of date; if one fails, the others go on
	+@$(if $(strip $(JOBS)),exec $(MAKE) -f $(firstword $(MAKEFILE_LIST)) --no-print-directory -k quiet=--quiet \
	    $(foreach name,$(JOBS),$(call output,$(name))),echo 'No job in configs/ has the output data/out/NAME.parquet.')

# What the outputs that are asked for are made from, besides their job files: one small rule for each.
outputs := $(filter data/out/%,$(MAKECMDGOALS))
ifneq ($(outputs),)
named := $(patsubst %.manifest.json,%,$(patsubst %.parquet,%,$(patsubst %/,%,$(outputs))))
-include $(patsubst data/out/%,.checkpoints/.make/%.d,$(named))
endif

# A directory may be named with its slash or without.
directories := $(filter-out %.parquet %.manifest.json,$(outputs))
.PHONY: $(directories)
$(foreach one,$(directories),$(eval $(one): $(patsubst %/,%,$(one)).manifest.json))

.checkpoints/.make/%.d: configs/%.yaml .ci/inputs $(installed)
	@mkdir -p $(@D)
	@$(bin)/python .ci/inputs $< data/out/$*.parquet data/out/$*.manifest.json >$@.new && mv $@.new $@

# A run that ended in any way but 0 leaves NAME.unfinished, and the next make runs the job again, also where the output
# stands already (exit 3: some rows have failed). The output bears the time at which its run began, so that what changed
# while it ran counts as newer. `exec` lets a signal to make reach the run, as above.
.SECONDEXPANSION:
.PRECIOUS: data/out/%.parquet data/out/%.manifest.json .checkpoints/.make/%.d
define run-job
	@mkdir -p .checkpoints/.make && touch .checkpoints/.make/$*.unfinished
	@echo 'pipeline run $<'; exec $(bin)/pipeline run $< $(quiet) $(ARGS)
	@test -e $@ || { echo '$@: not written; does $< name another output, or are rows pending?' >&2; exit 2; }
	@touch -c -r .checkpoints/.make/$*.unfinished $@
	@mv .checkpoints/.make/$*.unfinished .checkpoints/.make/$*.finished
endef
data/out/%.parquet: configs/%.yaml $$(if $$(wildcard .checkpoints/.make/$$*.unfinished),again) | $(installed)
	$(run-job)
data/out/%.manifest.json: configs/%.yaml $$(if $$(wildcard .checkpoints/.make/$$*.unfinished),again) | $(installed)
	$(run-job)

wheel: $(installed) ## Build the wheel into dist/
	$(bin)/python -m build --wheel --no-isolation

# The pins hold for later Pythons when they are resolved on the lowest one.
compile := .venv/pins/bin/pip-compile --upgrade --generate-hashes --strip-extras --allow-unsafe --newline lf --no-config \
    --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options --quiet
pins: ## Resolve requirements/ again from pyproject.toml, with Python 3.11
	$(or $(PYTHON),python3.11) -m venv .venv/pins
	.venv/pins/bin/python -m pip install --quiet --upgrade pip-tools
	CUSTOM_COMPILE_COMMAND='make pins' $(compile) --constraint requirements/constraints.in \
	    --output-file requirements/core.txt pyproject.toml
	CUSTOM_COMPILE_COMMAND='make pins' $(compile) --extra dev --extra report --constraint requirements/core.txt \
	    --output-file requirements/dev.txt pyproject.toml
	CUSTOM_COMPILE_COMMAND='make pins' $(compile) --extra bench --constraint requirements/dev.txt \
	    --output-file requirements/bench.txt pyproject.toml
	CUSTOM_COMPILE_COMMAND='make pins' $(compile) --extra notebook --constraint requirements/dev.txt \
	    --output-file requirements/notebook.txt pyproject.toml
	CUSTOM_COMPILE_COMMAND='make pins' $(compile) --constraint requirements/dev.txt \
	    --output-file requirements/stores.txt requirements/stores.in
	CUSTOM_COMPILE_COMMAND='make pins' $(compile) --constraint requirements/dev.txt --output-file requirements/ray.txt \
	    requirements/ray.in
	CUSTOM_COMPILE_COMMAND='make pins' $(compile) --output-file requirements/fuzz.txt requirements/fuzz.in
	CUSTOM_COMPILE_COMMAND='make pins' $(compile) --constraint requirements/dev.txt \
	    --output-file requirements/schedulers.txt requirements/schedulers.in
	CUSTOM_COMPILE_COMMAND='make pins' $(compile) --output-file requirements/readers.txt requirements/readers.in

clean: ## Remove the environment and caches, nothing that a run made
	rm -rf .venv benchmarks/.build .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find pipeline tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +
