"""Methods and metrics over a whole data set: the papers' tables."""
