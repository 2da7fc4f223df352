"""The paper that a method comes from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """Where a method was published; its ``str`` is a short citation such as ``Selvaraju et al., ICCV 2017``.

    Args:
        authors: family names, with "et al." after the first of three or more.
        title: of the paper.
        venue: the conference or the journal, in short, or "arXiv".
        year: of the publication.
        url: where the paper can be read.

    Example:
        >>> str(Paper("Zhou et al.", "Learning Deep Features", "CVPR", 2016, "https://arxiv.org/abs/1512.04150"))
        'Zhou et al., CVPR 2016'
    """

    authors: str
    title: str
    venue: str
    year: int
    url: str

    def __str__(self) -> str:
        return f"{self.authors}, {self.venue} {self.year}"
