"""Other tools at the same work: each the shortest whole program that its documentation suggests, in its best setting.

A module here runs in its peer's own environment (the `.txt` file of the same name, or of the one that `__main__`
names), so it imports nothing of ours but `benchmarks.peers.task`.
"""
