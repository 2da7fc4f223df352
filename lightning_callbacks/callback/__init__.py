"""Explain the same validation images again and again while a network trains."""
