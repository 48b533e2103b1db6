"""What stands in `deploy/`: each file is read by the program that it is for, or by that program's own code."""
