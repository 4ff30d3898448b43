# The shards of a job, four at a time: make -f examples/shards.mk -j 4 -k, and then: … gather
# Another job, and so with gather: make -f examples/shards.mk JOB=job.yaml SHARDS=4 PIPELINE=pipeline -j 4 -k
# `exec` puts the command in the shell's place, so that a signal to make reaches the run and it drains.
JOB := configs/answers.yaml
SHARDS := 16
PIPELINE := /srv/batch/.venv/bin/pipeline
PARTS := $(addprefix shard-,$(shell seq $(SHARDS)))

.PHONY: all gather $(PARTS)

all: $(PARTS)

$(PARTS): shard-%:
	@exec $(PIPELINE) run $(JOB) --shard $*/$(SHARDS)

gather:
	@exec $(PIPELINE) gather $(JOB) --shards $(SHARDS)
