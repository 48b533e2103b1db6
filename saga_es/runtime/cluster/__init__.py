"""Who is at work: this worker's heartbeat, what others recorded for it, and what workers that are gone left."""
