"""What tests stand on, and no test itself."""
