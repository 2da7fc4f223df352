"""Import a library that is only needed for some models."""

import importlib
from typing import Any

from captum_cams.errors import CAMError


def optional(library: str, prefix: str) -> Any:
    """Import a library that is an extra of this package.

    Args:
        library: its name, which is also the name of the extra.
        prefix: the word before the names of its models.

    Raises:
        CAMError: it is not installed.
    """
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise CAMError(
            f"{prefix}:NAME needs the package {library}, which is not installed; pip install captum-cams[{library}]"
        ) from error
