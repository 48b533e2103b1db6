"""Outgoing calls: the calls of steps, over threads and sockets, and the meaning of their answers."""
