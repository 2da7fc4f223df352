"""The page kit: what its scripts draw is what the formulas say, and a page asks nothing of a network."""

import base64
import io
import json

import numpy as np
import torch
from PIL import Image

from captum_cams.images import upsample
from lightning_callbacks.pages.colours import colour_tables
from lightning_callbacks.pages.page import render
from lightning_callbacks.pages.pictures import photograph, small_map

HOSTILE = "</script><script>console.error('run')</script> \u2028 ' \" & <b>"


def opened(browser, tmp_path, **data):
    file = tmp_path / "page.html"
    file.write_text(render("base.html", data, title=HOSTILE), encoding="utf-8")
    browser.open(file)
    return file


def test_texts_are_never_read_as_code_and_nothing_is_asked_of_a_network(browser, tmp_path):
    file = opened(browser, tmp_path, text=HOSTILE, numbers=[1.5, float("nan"), float("inf")])
    assert browser.run("Page.data.text") == HOSTILE
    assert browser.run("Page.data.numbers") == [1.5, None, None]
    assert browser.run("document.querySelector('h1').textContent") == HOSTILE
    assert (browser.requests, browser.faults) == ([file.as_uri()], [])
    refused = (
        "new Promise((done) => { const i = new Image(); i.onerror = () => done(true); i.onload = () => done(false);"
    )
    assert browser.run(refused + " i.src = 'http://localhost:9/x.png'; })")
    assert any("Content Security Policy" in fault for fault in browser.faults)  # the page itself forbids requests


def test_maps_are_resized_coloured_and_ordered_as_in_python(browser, tmp_path):
    generator = torch.Generator().manual_seed(0)
    image, map_ = torch.rand(3, 20, 28, generator=generator), torch.rand(5, 7, generator=generator)
    packed = small_map(map_)
    opened(browser, tmp_path, map=packed, photograph=photograph(image))
    sent = np.frombuffer(base64.b64decode(packed["bytes"]), np.uint8).reshape(5, 7)
    assert np.abs(sent / 255 - ((map_ - map_.min()) / (map_.max() - map_.min())).numpy()).max() < 0.51 / 255
    expected = upsample(torch.tensor(sent)[None, None].float(), (20, 28))[0, 0]
    found = torch.tensor(browser.run("[...Maps.resized(Page.data.map, 28, 20)]"))
    torch.testing.assert_close(found.view(20, 28), expected, rtol=0, atol=1e-3)
    turns = torch.tensor(browser.run("[...Maps.turns(Page.data.map, 28, 20)]"))
    assert torch.equal(found[turns.argsort()], found.sort(descending=True).values)
    draw = """Maps.photograph(Page.data.photograph).then((image) => {
        const canvas = Page.make("canvas"), at = () => [...canvas.getContext("2d").getImageData(0, 0, 28, 20).data];
        Maps.paint(canvas, image, null); const plain = at(); Maps.paint(canvas, image, Page.data.map, 0.5);
        return [plain, at()]; })"""
    plain, painted = (np.array(one).reshape(20, 28, 4)[..., :3] for one in browser.run(draw))
    webp = Image.open(io.BytesIO(base64.b64decode(photograph(image).split(",")[1])))
    assert np.abs(plain - np.asarray(webp, dtype=int)).max() <= 3  # two decoders of WebP
    value = found.view(20, 28).numpy()[..., None] / 255
    table = np.frombuffer(base64.b64decode(colour_tables()["sequential"]), np.uint8).reshape(256, 3)
    colours, share = table[np.floor(255 * value[..., 0] + 0.5).astype(int)], 0.5 * value**0.6
    base = plain + share * (plain @ [[0.299], [0.587], [0.114]] - plain)
    assert np.abs(base + 0.75 * share * (colours - base) - painted).max() <= 1
    assert browser.faults == []


def test_a_signed_map_leaves_the_photograph_alone_at_zero(browser, tmp_path):
    packed = small_map(torch.tensor([[-1.0, 0.0, 4.0]]))
    assert packed["signed"]
    assert np.frombuffer(base64.b64decode(packed["bytes"]), np.uint8).tolist() == [96, 128, 255]
    opened(browser, tmp_path, map=packed, photograph=photograph(torch.full((3, 1, 3), 0.4)))
    draw = """Maps.photograph(Page.data.photograph).then((image) => {
        const canvas = Page.make("canvas"); Maps.paint(canvas, image, Page.data.map);
        return [...canvas.getContext("2d").getImageData(0, 0, 3, 1).data]; })"""
    negative, zero, positive = np.array(browser.run(draw)).reshape(3, 4)[:, :3]
    assert negative[2] > negative[0]  # blue
    assert np.ptp(zero) == 0
    assert abs(zero[0] - 102) <= 3
    assert positive[0] > positive[2]  # red


def test_constant_maps_are_dark_and_fine_maps_are_smoothed_and_cut():
    constant = small_map(torch.full((2, 2), 3.0))
    assert np.frombuffer(base64.b64decode(constant["bytes"]), np.uint8).tolist() == [0] * 4
    assert not small_map(torch.rand(7, 7))["fine"]
    points = torch.zeros(224, 224)
    points[::8, ::8] = torch.rand(28, 28, generator=torch.Generator().manual_seed(0))
    points[100, 100] = 50
    packed = small_map(points)
    assert packed["fine"]
    levels = np.frombuffer(base64.b64decode(packed["bytes"]), np.uint8) / 255
    assert 0.009 < (levels >= packed["full"]).mean() < 0.02
    assert len(np.unique(levels[levels <= packed["full"]])) > 100  # one bright point leaves the colours of the others
    signed = small_map(points - 2 * points.roll(4, 1))
    assert np.frombuffer(base64.b64decode(signed["bytes"]), np.uint8).min() == 1


def test_large_pictures_are_reduced_by_means():
    map_ = torch.rand(2, 4).repeat_interleave(64, 0).repeat_interleave(64, 1)
    packed = small_map(map_)
    assert (packed["width"], packed["height"]) == (64, 32)
    means = map_.reshape(32, 4, 64, 4).mean((1, 3))
    sent = np.frombuffer(base64.b64decode(packed["bytes"]), np.uint8).reshape(32, 64)
    scaled = 255 * (means - means.min()) / (means.max() - means.min())
    assert np.abs(sent - scaled.numpy()).max() <= 0.51
    tall = photograph(torch.rand(3, 700, 350))
    assert Image.open(io.BytesIO(base64.b64decode(tall.split(",")[1]))).size == (160, 320)


def test_a_chart_reads_values_by_pointer_and_by_keys_and_hides_lines(browser, tmp_path):
    opened(browser, tmp_path)
    series = [{"name": "a", "y": [0, 1, 4, 9, 16], "style": 0}, {"name": "b", "y": [5, None, 3, 2, 1], "style": 9}]
    browser.run(
        "window.picked = []; const box = Page.make('div'); Page.find('main').append(box); window.chart = "
        f"Charts.lines(box, {{x: [0, 1, 2, 3, 4], series: {json.dumps(series)}, xLabel: 'epoch', yLabel: 'loss', "
        "title: 'Loss', from: 0, marks: [[2, 'here']], onPick: (i) => picked.push(i)}); undefined"
    )
    browser.settle()
    reading = "document.querySelector('.reading').textContent"
    assert browser.run("document.querySelectorAll('.chart path').length") == 2
    browser.mouse("mouseMoved", *browser.place(".chart .mark"))
    browser.settle()
    assert browser.run(reading) == "epoch: 2a 4.000b 3.000"
    browser.click(".chart")
    assert browser.run("picked.length") == 1
    browser.run("document.querySelector('.chart').focus()")
    browser.press("ArrowLeft")
    assert browser.run(reading) == "epoch: 1a 1.000"
    browser.click(".key button")
    assert browser.run("document.querySelectorAll('.chart path').length") == 1
    assert browser.run("document.querySelector('.key button').getAttribute('aria-pressed')") == "false"
    browser.run("chart.at(3)")
    assert browser.run("document.querySelectorAll('.chart .cursor').length") == 1
    browser.resize(390)
    browser.wait("document.querySelector('.chart svg').getAttribute('width') < 390")
    assert browser.faults == []


def test_a_player_plays_to_the_end_and_starts_again(browser, tmp_path):
    opened(browser, tmp_path)
    browser.run(
        "window.shown = []; const box = Page.make('div'); Page.find('main').append(box); player(box, {count: 4, "
        "show: (i) => shown.push(i), text: (i) => `step ${i}`, label: 'step', milliseconds: 20}); undefined"
    )
    browser.click(".play")
    browser.wait("document.querySelector('.play').textContent.includes('Play')")
    assert browser.run("shown") == [0, 0, 1, 2, 3] or browser.run("shown") == [0, 1, 2, 3]
    browser.click(".play")
    browser.wait("shown.filter((i) => i === 3).length === 2")
    browser.run("document.querySelector('input').focus()")
    browser.press("Home")
    browser.press("ArrowRight")
    assert browser.run("document.querySelector('output').textContent") == "step 1"
    assert browser.faults == []
