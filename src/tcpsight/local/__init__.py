"""Connections of this machine as its kernel knows them: read, named, and ended on purpose (Linux)."""
