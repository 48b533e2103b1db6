"""The measurements: each file measures some rows of the table."""
