"""The table of an evaluation in a notebook."""

from html.parser import HTMLParser

import torch

from lightning_callbacks.evaluation.table import Table


class Reader(HTMLParser):
    """The texts of the cells, and the attributes of all pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.pictures: list[dict[str, str | None]] = []

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "img":
            self.pictures.append(dict(attrs))

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def a_table(curves):
    columns = {
        "image": torch.tensor([0, 1, 0, 1]),
        "class": torch.tensor([0, 0, 0, 0]),
        "method": torch.tensor([0, 0, 1, 1]),
        "complexity": torch.tensor([0.25, 0.75, 0.5, torch.nan]),
        "seconds": torch.ones(4),
        "forward_seconds": torch.ones(4),
    }
    return Table(("fgcam(gradcam)", "<own>"), ("complexity",), columns, curves)


def test_a_notebook_shows_the_cells_of_the_printed_table():
    table = a_table({})
    reader = Reader()
    reader.feed(table._repr_html_())
    printed = [[cell.strip() for cell in line.strip("|").split("|")] for line in str(table).splitlines()]
    assert reader.rows[0] == printed[0]
    assert [row[1:] for row in reader.rows[1:]] == [row[1:] for row in printed[2:]]
    assert [row[0] for row in reader.rows[1:]] == ["FG-CAM over Grad-CAM", "<own>"]
    assert not reader.pictures


def test_a_notebook_shows_the_curves_below():
    reader = Reader()
    reader.feed(a_table({"fgcam(gradcam)": torch.rand(2, 5)})._repr_html_())
    (picture,) = reader.pictures
    assert picture["src"].startswith("data:image/png;base64,iVBOR")
    assert picture["alt"]
