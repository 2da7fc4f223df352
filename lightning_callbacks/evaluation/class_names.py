"""Whether the labels of a data set and the scores of a model count the same classes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from captum_cams.errors import CAMError

_REMEDY = "translate the labels by batch_fn, or use a model of these classes"


def check_class_names(data: Any, model: Sequence[str] | None, count: int) -> None:
    """Raise where the names of the data's classes are not those of the model.

    Args:
        data: names by index, a sequence of all or a mapping of some, with synonyms as tuples; or None.
        model: names of all its classes, or None where they are not known.
        count: of its scores.

    Raises:
        CAMError: another number of classes in either, or other names in the data.
    """
    if model is not None and len(model) != count:
        raise CAMError(f"class_names must name the {count} classes of the model, got {len(model)}; pass one for each")
    if data is None or not len(data):
        return
    if isinstance(data, Mapping) and max(data) >= count:
        raise CAMError(f"the data has a class {max(data)} and the model {count} classes, from 0 on; {_REMEDY}")
    if not isinstance(data, Mapping) and len(data) != count:
        raise CAMError(
            f"the data has {len(data)} classes and the model {count}, so that its indices do not name the same "
            f"classes; {_REMEDY}"
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
            f'class {index} is "{_synonyms(named[index])[0]}" in the data and "{model[index]}" in the model, so that '
            f"its indices do not name the same classes; {_REMEDY}"
        )


def _synonyms(name: Any) -> Sequence[str]:
    return name if isinstance(name, tuple | list) else (str(name),)


def _is_code(name: Any) -> bool:
    """Whether it is a number or an identifier of WordNet, as ImageNet's folders have it."""
    return isinstance(name, int) or bool(isinstance(name, str) and re.fullmatch(r"\d*|n\d{8}", name))


def _plain(name: str) -> str:
    return "".join(one for one in name.lower() if one.isalnum())
