"""Explain the same validation images repeatedly while a network trains."""
