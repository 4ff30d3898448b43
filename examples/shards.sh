#!/bin/sh
# 16 shards of configs/answers.yaml by GNU parallel, four at a time, and their one output. Run again, it starts only the
# shards that did not end well. Without the times of --termseq parallel kills the runs 0.4 s after a signal.
shards=16
parallel -j 4 --joblog logs/answers.joblog --resume-failed --termseq TERM,70000,KILL,25 \
    /srv/batch/.venv/bin/pipeline run configs/answers.yaml --shard {}/$shards ::: $(seq $shards)
exec /srv/batch/.venv/bin/pipeline gather configs/answers.yaml --shards $shards
