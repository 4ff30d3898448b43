"""Wires a whole job together: what each command does, without what a person sees of it."""
