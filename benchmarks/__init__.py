"""The time and the memory of methods, metrics and the callback."""
