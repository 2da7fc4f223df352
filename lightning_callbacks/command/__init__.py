"""The command line ``captum-cams``."""
