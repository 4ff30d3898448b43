"""The recovery of a damaged checkpoint: find intact records, build a new journal from them, replace the old one."""
