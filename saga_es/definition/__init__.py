"""What a saga is written with: the definition, its steps, and requests to participants."""
