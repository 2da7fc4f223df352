"""Judge the networks of the zoo; see ``--help``."""

from tests.zoo.command import main

raise SystemExit(main())
