"""Senders on other machines: each connects back to the run, proves that it belongs to it, and sends under a lease."""
