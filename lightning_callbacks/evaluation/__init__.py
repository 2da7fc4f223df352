"""Measure methods over a whole data set, as the tables in papers do."""
