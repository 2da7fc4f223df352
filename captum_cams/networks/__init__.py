"""Networks that explain themselves: trainable modules with a map of their own."""
