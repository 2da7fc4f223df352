"""Run the model once, or the part behind a layer many times, and leave everything as it was."""
