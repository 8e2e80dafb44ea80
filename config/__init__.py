"""What the operator set and what this machine offers."""
