"""One turn, the same way for every dialect."""
