"""What the engine promises, on every database: sagas run, are commanded, are taken over, and end."""
