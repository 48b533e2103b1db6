"""Tables that are made from the log: their kinds, how they are kept, followed, rebuilt and compared."""
