"""What is told of a job: its figures, status and next steps, to people and to machines."""
