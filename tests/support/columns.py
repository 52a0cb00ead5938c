"""Columns that tests must know of."""

IN_BATCH = ("made_by", "row")
"""They count from the beginning of a batch, and so change with how rows are cut into batches."""
