"""Takes a file, a pipe or an interface, gives Frames."""
