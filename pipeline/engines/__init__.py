"""Where the sending runs: one engine a module."""
