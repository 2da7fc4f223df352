"""The report of an evaluation in a browser: driven by clicks, at two widths."""

import base64
import json

import pytest
import torch

from lightning_callbacks import evaluate
from tests.support.evaluation_run import loader, network, quiet

METHODS = ["gradcam", "random", "layercam"]
METRICS = ["insertion_auc", "complexity", "energy"]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The 'test_dataloader'", "ignore:.*GPU")]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    given = {"metrics": METRICS, "protocol": "training", "trainer": quiet(), "out": folder}
    return evaluate(network(), loader(), METHODS, **given), folder / "report.html"


@pytest.fixture
def page(evaluated, browser):
    browser.open(evaluated[1])
    browser.wait("document.querySelector('.player')")
    yield browser
    assert browser.requests == [evaluated[1].as_uri()]
    assert browser.faults == []


def texts(page, selector):
    return page.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.textContent)")


def images(page):
    return [int(one) for one in page.run("[...document.querySelectorAll('.card')].map((one) => one.dataset.image)")]


def test_the_table_sorts_by_the_heading_that_is_pressed(page, evaluated):
    table = evaluated[0]
    means = {method: table[method, "complexity"].mean for method in METHODS}
    best_first = sorted(METHODS, key=means.__getitem__)  # lower is better
    page.click("#results [data-key=complexity]")
    assert texts(page, "#results tbody th") == best_first
    page.click("#results [data-key=complexity]")
    assert texts(page, "#results tbody th") == best_first[::-1]
    sorts = page.run("[...document.querySelectorAll('#results thead th')].map((one) => one.getAttribute('aria-sort'))")
    assert sorts == ["none", "none", "descending", "none", "none"]
    page.press("Enter")  # the heading has kept the focus
    assert texts(page, "#results tbody th") == best_first
    shown = texts(page, "#results .best .interval")
    of = table.intervals()[best_first[0], "complexity"]
    assert f"{of.low:.3f} to {of.high:.3f}" in shown


def test_images_are_ordered_and_filtered(page, evaluated):
    table = evaluated[0]
    assert images(page) == table.best("gradcam", "insertion_auc", k=99)
    page.choose("#filter-method", "random")
    page.choose("#filter-metric", "complexity")
    page.choose("#filter-order", "worst")
    assert images(page) == table.worst("random", "complexity", k=99)
    rows = page.run("Page.data.images.map((row) => ({image: row.image, right: row.right, apart: row.disagreement}))")
    page.choose("#filter-right", "wrong")
    assert sorted(images(page)) == sorted(row["image"] for row in rows if not row["right"])
    page.choose("#filter-right", "")
    page.choose("#filter-apart", "apart")
    apart = sorted(rows, key=lambda row: -row["apart"])
    assert sorted(images(page)) == sorted(row["image"] for row in apart[: len(rows) // 4 + 1])


def test_two_methods_are_compared_with_a_slider(page):
    first = images(page)[2]
    page.click(f".card[data-image='{first}']")
    assert f"Image {first}," in texts(page, "#viewer h3")[0]
    page.choose("#side-1", "layercam")
    assert texts(page, ".stage b") == ["gradcam", "layercam"]
    box = page.run(
        "(() => { const b = document.querySelector('.stage').getBoundingClientRect(); return [b.left, b.width]; })()"
    )
    x, y = page.place(".stage")
    page.mouse("mouseMoved", x, y)
    page.mouse("mousePressed", x, y)
    page.mouse("mouseMoved", box[0] + 0.25 * box[1], y)
    page.mouse("mouseReleased", box[0] + 0.25 * box[1], y)
    page.settle()
    share = float(page.run("document.querySelector('.stage .line').style.left").removesuffix("%"))
    assert abs(share - 25) < 5
    assert page.run("document.querySelector('.stage .over').style.clipPath") == f"inset(0px {100 - share:g}% 0px 0px)"
    page.press("ArrowRight")
    assert float(page.run("document.querySelector('.stage .line').style.left").removesuffix("%")) == share + 1
    page.click("#next")
    assert f"Image {images(page)[3]}," in texts(page, "#viewer h3")[0]


def test_insertion_and_deletion_are_played_step_by_step(page):
    canvas = "document.querySelector('.steps canvas')"
    same = f"""(async () => {{ const image = await Maps.photograph(Page.data.photographs[ROW].photograph), c = {canvas};
        const other = Page.make("canvas", {{width: c.width, height: c.height}});
        other.getContext("2d", {{willReadFrequently: true}}).drawImage(image, 0, 0);
        const pixels = (one) => one.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer;
        const of = (one) => [...new Uint32Array(pixels(one))];
        const [a, b] = [of(c), of(other)]; return a.filter((x, i) => x === b[i]).length / a.length; }})()"""
    same = same.replace("ROW", str(images(page)[0]))
    assert page.run(same) < 0.5
    page.click(".player .play")
    page.wait("document.querySelector('.player input').value === '10'")
    assert page.run(same) == 1
    curve = page.run(f"Page.data.images.find((row) => row.image === {images(page)[0]}).curves.gradcam")
    assert texts(page, ".steps figcaption")[0] == f"gradcam: {curve[1][10]:.3f}"
    page.choose("#mode", "deletion")
    assert page.run(same) == 1
    page.run("document.querySelector('.player input').focus()")
    page.press("ArrowRight")
    assert texts(page, ".player output") == ["10 % of the pixels removed"]
    assert texts(page, ".steps figcaption")[0] == f"gradcam: {curve[0][1]:.3f}"
    assert 0.85 < page.run(same) < 0.95


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (390, True)])
def test_the_page_fits_its_window(evaluated, browser, width, dark):
    browser.open(evaluated[1], width, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    heights = browser.run("[...document.querySelectorAll('button, select, a.button')].map((one) => one.offsetHeight)")
    assert all(height == 0 or height >= 30 for height in heights)  # 0 is hidden; a finger needs room
    unnamed = (
        "[...document.querySelectorAll('input, select')].filter((one) => !one.labels.length && !one.ariaLabel).length"
    )
    assert browser.run(unnamed) == 0
    assert browser.faults == []


def test_the_data_can_be_taken_from_the_page(page, evaluated):
    for name in ("table.csv", "table.json", "rows.csv"):
        address = page.run(f"document.querySelector('a[download=\"{name}\"]').href")
        assert base64.b64decode(address.split(",")[1]) == (evaluated[1].parent / name).read_bytes()
    assert ["torch", torch.__version__] in page.run(
        "[...document.querySelectorAll('.settings tr')].map((one) => [...one.children].map((cell) => cell.textContent))"
    )
