"""Propagate relevance from the output or a deep layer of a model to a shallower layer or to the pixels."""
