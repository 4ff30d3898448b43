"""One run of a job: planned, sent, published."""
