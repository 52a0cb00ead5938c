"""Takes a command line, gives an exit status: one file per command."""
