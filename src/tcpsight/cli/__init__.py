"""Takes a command line, gives an answer on standard output and an exit status."""
