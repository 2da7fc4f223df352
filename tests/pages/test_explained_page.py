"""The page of ``captum-cams explain``: each image with the maps of each class, found by its name."""

import numpy as np
from PIL import Image

from lightning_callbacks.command.main import main

MODEL = "tests.support.evaluation_run:network"


def test_the_page_shows_every_image_and_class(browser, tmp_path, capsys):
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"photo {i} <b>.png")
    out = tmp_path / "out"
    typed = ["explain", str(tmp_path), "--model", MODEL, "--methods", "gradcam", "layercam", "--html"]
    assert main([*typed, "--target", "0", "2", "--out", str(out)]) == 0
    assert "3 pictures and explained.html" in capsys.readouterr().out
    page = out / "explained.html"
    browser.open(page)
    browser.wait(
        "[...document.querySelectorAll('canvas[role=img]')].every((one) => one.width > 1 && one.width !== 300)"
    )
    asked = [address for address in browser.requests if not address.startswith("data:")]
    assert (asked, browser.faults) == ([page.as_uri()], [])
    assert browser.run("document.querySelectorAll('canvas[role=img]').length") == 3 * 2 * (1 + 2)
    assert browser.run("document.querySelector('.card b').textContent") == "photo 0 <b>.png"
    shown = "[...document.querySelectorAll('.card')].filter((one) => !one.hidden).length"
    find = "const e = document.querySelector('input[type=search]'); e.value = 'PHOTO 1';"
    browser.run(f"(() => {{ {find} e.dispatchEvent(new Event('input')); }})()")
    assert browser.run(shown) == 1
    browser.resize(390)
    browser.settle()
    assert browser.run("document.documentElement.scrollWidth") <= 390
    assert browser.faults == []
