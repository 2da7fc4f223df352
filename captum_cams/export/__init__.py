"""Explanations that leave with the model: a plain module that gives scores and map."""
