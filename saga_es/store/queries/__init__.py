"""What people read about sagas: stories, lists, the past."""
