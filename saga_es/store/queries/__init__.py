"""What people read of sagas: stories, lists, the past."""
