"""The definition of a saga: its steps, and the requests to participants."""
