"""What a command does, a module each."""
