"""Judge the networks of the zoo: ``python -m tests.zoo --help``."""

from tests.zoo.command import main

raise SystemExit(main())
