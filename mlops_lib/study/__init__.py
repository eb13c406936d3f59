"""What the two reports claim, and what the runs say of it."""
