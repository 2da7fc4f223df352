"""Carry relevance from a model's output, or a deep layer, to a shallower layer or the pixels."""
