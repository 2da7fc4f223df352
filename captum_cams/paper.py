"""The paper that a method comes from, and the name that it has there."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Paper:
    """The publication of a method; ``print`` shows a short citation.

    Args:
        authors: the family names. With three or more authors, the first name and "et al.".
        title: the title of the paper.
        venue: the short name of the conference or the journal, or "arXiv".
        year: the year of the publication.
        url: an address where the paper can be read.

    Example::

        >>> print(cc.GradCAM.paper)
        Selvaraju et al., ICCV 2017
    """

    authors: str
    title: str
    venue: str
    year: int
    url: str

    def __str__(self) -> str:
        return f"{self.authors}, {self.venue} {self.year}"


def joined_title(cls: type[Any], base: str | None = None) -> str:
    """Join the title of a class with the title of its base: ``FG-CAM over Grad-CAM``, or ``Guided Grad-CAM``."""
    own: str = vars(cls).get("title") or cls.__name__  # a subclass does not have the name of what it changes
    if "{base}" in own:
        return own.format(base=base or "CAM")
    return own if base is None else f"{own} over {base}"
