"""The limits beside our figures: programs that do the bare work and keep no promise. Each prints one JSON object."""
