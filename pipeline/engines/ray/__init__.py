"""Senders as actors of a Ray cluster. Ray places them and says when one has died; everything else is `remote`."""
