"""The vocabulary that everything else speaks: pure, and imports no project module but its own."""
