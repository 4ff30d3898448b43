"""What needs several keys of a job, or the catalogue, to be judged; `job` puts all checks together."""
