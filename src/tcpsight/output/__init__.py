"""Takes any table, gives text, CSV, JSON lines, Parquet and Arrow."""
