"""What is measured: each file some rows of the table."""
