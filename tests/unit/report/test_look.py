"""The page as a browser draws it: legible in both schemes, nothing cut off, nothing asked for."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.report.page import page
from bridge.report.verification import Verification
from tests.unit.report.browser import NAMES, Browser, installed
from tests.unit.report.samples import FULL, NASTY, crowded, nasty

LOOK = (Path(__file__).parent / "look.js").read_text()
FINE: dict[str, Any] = {"pale": [], "faint": [], "wide": False, "outside": [], "cut": []}
BAD = """<!doctype html><link rel="icon" href="data:,"><style>
.a { color: #999; background: #fff } .b { width: 3000px } .c { width: 40px; overflow: hidden;
white-space: nowrap }</style><p class="a">pale</p><p class="b">wide</p><p class="c">all of this</p>
<svg><rect class="fill" fill="#eee" width="5" height="5"/></svg>
<img src="http://127.0.0.1:9/x"><script>undefined.x</script>"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = installed()
    if program is None:
        pytest.skip(f"no browser to look at the page with: none of {', '.join(NAMES)} is on PATH")
    found = Browser(program, tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


def looked_at(
    browser: Browser, tmp_path: Path, text: str, *, scheme: str = "light", width: int = 1280
) -> dict[str, Any]:
    """What is wrong with a page, besides what the browser itself complains about."""
    path = tmp_path / "page.html"
    path.write_text(text)
    browser.open(path, scheme=scheme, width=width)
    found: dict[str, Any] = browser.ask(LOOK)
    return found


def test_what_is_wrong_is_seen(browser: Browser, tmp_path: Path) -> None:
    found = looked_at(browser, tmp_path, BAD)
    assert found["pale"] == ["P.a: 2.85"]
    assert found["faint"] == ["rect.fill: 1.16"]
    assert found["wide"]
    assert found["outside"] == ["P.b"]
    assert found["cut"] == ["P.c"]
    assert "http://127.0.0.1:9/x" in browser.requests
    assert any("undefined" in complaint for complaint in browser.complaints)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_crowded_page(browser: Browser, tmp_path: Path, scheme: str, width: int) -> None:
    found = looked_at(browser, tmp_path, page(crowded()), scheme=scheme, width=width)
    assert {name: found[name] for name in FINE} == FINE
    assert found["texts"] > 1000
    assert found["scrolled"] == 0 or width < 600
    assert browser.complaints == []
    assert browser.requests == [(tmp_path / "page.html").as_uri()]
    light = sum(map(int, found["page"].strip("rgb()").split(","))) > 3 * 128
    assert light == (scheme == "light")


@pytest.mark.parametrize("text", NASTY)
def test_no_value_reaches_the_browser(browser: Browser, tmp_path: Path, text: str) -> None:
    found = looked_at(browser, tmp_path, page(nasty(text)), width=390)
    assert {name: found[name] for name in FINE} == FINE
    assert browser.complaints == []
    assert len(browser.requests) == 1


@pytest.mark.parametrize(
    "result", [replace(FULL, tables=FULL.tables[:1], refusals=()), Verification("p", "values")]
)
def test_small_pages(browser: Browser, tmp_path: Path, result: Verification) -> None:
    found = looked_at(browser, tmp_path, page(result), scheme="dark")
    assert {name: found[name] for name in FINE} == FINE


def test_a_page_as_large_as_they_come_opens_at_once(browser: Browser, tmp_path: Path) -> None:
    table = next(t for t in crowded().tables if len(t.differences) == 200)
    begun = time.monotonic()
    found = looked_at(browser, tmp_path, page(replace(FULL, tables=(table,) * 60)))
    assert found["texts"] > 10_000
    assert time.monotonic() - begun < 60
    picture = browser.picture(tmp_path / "page.png")
    assert struct.unpack(">II", picture[16:24]) == (1280, 900)
