"""Takes Segments, gives Network: round trips and recovery by connection and direction."""
