"""A report in a real browser: it renders in every scheme, asks nobody for anything, and opens at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.devtools import Browser

WIDTH, HEIGHT = 1200, 1700


def picture(browser: Browser, page: Path, target: Path, *, scheme: str, media: str) -> Image.Image:
    browser.show(WIDTH, HEIGHT, scheme=scheme, media=media)
    opened = browser.open(page)
    assert opened.complaints == []
    return Image.open(browser.screenshot(target / f"{scheme}-{media}.png")).convert("RGB")


def brightness(color: Any) -> float:
    return float(sum(color)) / 3


@pytest.mark.parametrize(
    ("scheme", "media", "is_dark"), [("light", "screen", False), ("dark", "screen", True), ("dark", "print", False)]
)
def test_it_renders_in_light_and_dark_and_prints_light(
    browser: Browser, large: Path, tmp_path: Path, scheme: str, media: str, is_dark: bool
) -> None:
    image = picture(browser, large, tmp_path, scheme=scheme, media=media)
    assert image.size == (WIDTH, HEIGHT)
    background = brightness(image.getpixel((2, 2)))
    assert background < 60 if is_dark else background > 200
    for top in range(0, HEIGHT, HEIGHT // 5):
        colors = image.crop((0, top, WIDTH, top + HEIGHT // 5)).getcolors(2**24)
        assert colors is not None
        assert len(colors) > 30, f"nothing is drawn from {top} on"
        drawn = sum(count for count, color in colors if abs(brightness(color) - background) > 60)
        assert drawn > 1_000, f"nothing can be read from {top} on"


def test_every_plot_is_drawn_in_the_colours_of_the_scheme(browser: Browser, large: Path) -> None:
    drawn = """document.querySelectorAll(".plot text, .plot path[fill^='var']")"""
    fills = f"Array.from({drawn}).map(one => getComputedStyle(one).fill)"
    found = {}
    for scheme in ("light", "dark"):
        browser.show(WIDTH, HEIGHT, scheme=scheme)
        browser.open(large)
        assert browser.evaluate("document.querySelectorAll('.plot').length") == 6
        assert browser.evaluate(
            "Array.from(document.querySelectorAll('.plot')).every(one => one.getBoundingClientRect().height > 100)"
        )
        found[scheme] = set(browser.evaluate(fills))
    assert len(found["light"]) == len(found["dark"]) == 4  # answered, failed, marks, and the letters of the axes
    assert not found["light"] & found["dark"]


def test_the_page_of_a_hundred_thousand_rows_opens_within_two_seconds_and_asks_for_nothing_else(
    browser: Browser, large: Path
) -> None:
    browser.show(WIDTH, HEIGHT)
    browser.open(large)  # the browser's own first page takes longer
    opened = browser.open(large)
    size = large.stat().st_size
    print(f"{size:,} bytes, open after {opened.seconds:.3f} s")
    assert size < 3_000_000
    assert opened.seconds < 2
    assert opened.complaints == []
    assert [address for address in opened.addresses if not address.startswith("data:")] == [large.as_uri()]


def test_nothing_stands_beyond_the_edge_of_a_narrow_window(browser: Browser, large: Path) -> None:
    browser.show(400, 900)
    browser.open(large)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 400


def test_no_label_of_a_plot_is_cut_off(browser: Browser, large: Path) -> None:
    browser.show(WIDTH, HEIGHT)
    browser.open(large)
    beyond = """Array.from(document.querySelectorAll('.plot text')).filter(one => {
        const text = one.getBoundingClientRect(), plot = one.closest('svg').getBoundingClientRect();
        return text.left < plot.left - 1 || text.right > plot.right + 1 || text.bottom > plot.bottom + 1;
    }).map(one => one.textContent)"""
    assert browser.evaluate(beyond) == []


def test_a_narrow_window_shows_that_wide_tables_scroll(browser: Browser, large: Path) -> None:
    browser.show(400, 900)
    browser.open(large)
    wide = "Array.from(document.querySelectorAll('.scroll')).filter(one => one.scrollWidth > one.clientWidth)"
    assert browser.evaluate(f"{wide}.length") >= 5
    assert browser.evaluate(f"{wide}.every(one => getComputedStyle(one).backgroundImage.includes('gradient'))")
    assert browser.evaluate(f"{wide}.every(one => one.tabIndex === 0)")


def test_the_content_policy_holds_against_what_would_slip_in(browser: Browser, large: Path, tmp_path: Path) -> None:
    page = large.read_text(encoding="utf-8")
    slipped = '<script>document.title = "run"</script><p style="color: red" id="slipped">x</p><img src="http://127.0.0.1:9/x">'
    tampered = tmp_path / "tampered.html"
    tampered.write_text(page.replace("</footer>", f"</footer>{slipped}"), encoding="utf-8")
    browser.show(WIDTH, HEIGHT)
    opened = browser.open(tampered)
    assert browser.evaluate("document.title") == "large \N{EN DASH} report"
    assert browser.evaluate("getComputedStyle(document.getElementById('slipped')).color") != "rgb(255, 0, 0)"
    blocked = [re.search(r"violates the following Content Security Policy", text) for text in opened.complaints]
    assert len(list(filter(None, blocked))) == 3, opened.complaints
