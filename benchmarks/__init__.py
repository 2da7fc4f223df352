"""What every method costs, as a ratio to a plain forward pass measured in the same run."""
