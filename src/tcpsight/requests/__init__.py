"""Takes Segments, gives Requests."""
