"""Takes Headers, gives Segments and Connections."""
