"""Concepts: what the activations of a whole batch are made of, found without a class."""
