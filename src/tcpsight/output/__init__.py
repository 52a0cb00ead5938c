"""Takes any table, gives text, CSV, JSON lines, Parquet or Arrow."""
