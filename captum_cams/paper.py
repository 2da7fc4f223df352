"""The paper that a method comes from."""

from dataclasses import dataclass


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
