"""Run the model once, or its tail (the part after a layer) many times, and leave the model as it was."""
