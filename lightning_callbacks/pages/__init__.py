"""Pages that one opens in a browser: one file each, with everything inside and no request to a network."""
