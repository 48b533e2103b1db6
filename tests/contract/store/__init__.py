"""What the store promises, on every database: the log, views, archives, proofs, migrations."""
