"""A damaged checkpoint: what is whole in it, a new journal of that, and how it takes the old one's place."""
