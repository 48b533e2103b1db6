"""Remember: the log, the views of it, and who is at work. SQLAlchemy Core; no ORM, no rules of the saga."""
