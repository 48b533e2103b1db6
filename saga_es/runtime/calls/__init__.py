"""What goes out: calls of steps, over threads and sockets, and what their answers mean."""
