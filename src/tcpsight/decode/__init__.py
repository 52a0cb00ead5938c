"""Takes Frames, gives Headers."""
