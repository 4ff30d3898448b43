# 16 shards of configs/answers.yaml, four at a time: make -f examples/shards.mk -j 4 -k, and then: … gather
# `exec` puts the command in the shell's place, so that a signal to make reaches the run and it drains.
SHARDS := 16
PARTS := $(addprefix shard-,$(shell seq $(SHARDS)))

.PHONY: all gather $(PARTS)

all: $(PARTS)

$(PARTS): shard-%:
	@exec /srv/batch/.venv/bin/pipeline run configs/answers.yaml --shard $*/$(SHARDS)

gather:
	@exec /srv/batch/.venv/bin/pipeline gather configs/answers.yaml --shards $(SHARDS)
