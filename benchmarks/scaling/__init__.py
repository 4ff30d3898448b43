"""What many machines would do, from a simulation that is held to measured runs."""
