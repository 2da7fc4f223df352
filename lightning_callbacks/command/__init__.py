"""The command line, ``captum-cams``: models, images and folders by name."""
