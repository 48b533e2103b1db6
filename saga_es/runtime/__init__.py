"""Do: the loop, the calls it makes, its timers, and recovery. The only place with threads and a clock."""
