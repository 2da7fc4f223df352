"""Check that the labels of a data set and the scores of a model mean the same classes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from captum_cams.errors import CAMError

_REMEDY = "translate the labels with batch_fn, or use a model for these classes"


def check_class_names(data: Any, model: Sequence[str] | None, count: int) -> None:
    """Raise if the class names of the data differ from the class names of the model.

    Args:
        data: the class names of the data set: a sequence of all names, a mapping from some indices to names, or None. A
            tuple holds synonyms.
        model: the names of all classes of the model, or None if they are not known.
        count: the number of classes of the model.

    Raises:
        CAMError: the numbers of classes differ, or the names differ.
    """
    if model is not None and len(model) != count:
        raise CAMError(f"class_names must name the {count} classes of the model, got {len(model)}; pass one for each")
    if data is None or not len(data):
        return
    if isinstance(data, Mapping) and max(data) >= count:
        raise CAMError(
            f"the classes of the data must be 0 to {count - 1}, as in the model, but the data has a class {max(data)}; "
            f"{_REMEDY}"
        )
    if not isinstance(data, Mapping) and len(data) != count:
        raise CAMError(
            f"data and model must have the same classes, but the data has {len(data)} classes and the model has "
            f"{count}; {_REMEDY}"
        )
    if model is None:
        return
    own = [_plain(name) for name in model]
    named = dict(data) if isinstance(data, Mapping) else dict(enumerate(data))
    spoken = {index: [*map(_plain, _synonyms(name))] for index, name in named.items() if not _is_code(name)}
    other = {index: names for index, names in spoken.items() if own[index] not in names}
    moved = [index for index, names in other.items() if {*names} & {*own}]
    if moved or (other and len(other) == len(spoken)):
        index = (moved or [*other])[0]
        raise CAMError(
            f'class {index} is "{_synonyms(named[index])[0]}" in the data and "{model[index]}" in the model, but '
            f"both must be the same class; {_REMEDY}"
        )


def _synonyms(name: Any) -> Sequence[str]:
    """All names of a class."""
    return name if isinstance(name, tuple | list) else (str(name),)


def _is_code(name: Any) -> bool:
    """Whether a class name is a number or a WordNet identifier, as in the folders of ImageNet."""
    return isinstance(name, int) or bool(isinstance(name, str) and re.fullmatch(r"\d*|n\d{8}", name))


def _plain(name: str) -> str:
    """The letters and digits of a name, in lower case."""
    return "".join(letter for letter in name.lower() if letter.isalnum())
