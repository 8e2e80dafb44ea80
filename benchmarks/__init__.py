"""How fast the server is, beside the floor and beside the naive way; `make bench` runs it."""
