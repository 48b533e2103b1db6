"""Tables that are made from the log: their kinds, how they are kept, caught up, rebuilt and compared."""
