"""Losses that read maps, one file for each."""
