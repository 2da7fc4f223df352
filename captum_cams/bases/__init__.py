"""The abstract classes that methods and wrappers extend."""
