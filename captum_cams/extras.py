"""Import the libraries that only some tasks need, and that a plain installation therefore leaves out."""

import importlib
from typing import Any

from captum_cams.errors import CAMError


def import_extra(module: str, extra: str, user: str, otherwise: str = "") -> Any:
    """Import a module of a library that an extra of this package brings.

    Args:
        module: the name of the module, for example ``"skimage.morphology"``.
        extra: the name of the extra, as in ``pip install "captum-cams[xrai]"``.
        user: what needs the library, as the beginning of the message.
        otherwise: what else the user can do, as the end of the message.

    Raises:
        CAMError: the library is not installed.
    """
    library = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != library:
            raise  # the library is there, and lacks something itself
        raise CAMError(
            f'{user} needs the package {library}, which is not installed; pip install "captum-cams[{extra}]"{otherwise}'
        ) from error
