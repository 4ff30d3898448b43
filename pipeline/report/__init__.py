"""One self-contained HTML page about a job: the journal as a projection. `plots` needs the extra `report`."""
