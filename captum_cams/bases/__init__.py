"""The abstract classes that methods and wrappers extend, one file for each."""
