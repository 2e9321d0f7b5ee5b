"""The printed formats: complete, within their limits, and harmless whatever a value holds."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from markdown_it import MarkdownIt

from bridge.names import TableName
from bridge.report.formats import FORMATS
from bridge.report.markdown import MOST_BYTES, markdown
from bridge.report.page import MOST_DIFFERENCES, POLICY, page
from bridge.report.verification import ColumnDifference, Difference, TableVerdict, Verification
from tests.unit.report.samples import FULL, ITEMS, NASTY, nasty

# element: (attributes that must be there, that may be, children in their order), as both the
# schema of Ant's JUnit task and Jenkins' junit-10.xsd allow it
SCHEMA: Mapping[str, tuple[str, str, str]] = {
    "testsuites": ("", "", r"(testsuite,)*"),
    "testsuite": (
        "name timestamp hostname tests failures errors time package id",
        "skipped",
        r"properties,(testcase,)*system-out,system-err,",
    ),
    "properties": ("", "", r"(property,)*"),
    "property": ("name value", "", ""),
    "testcase": ("name classname time", "", r"((failure|error|skipped),)?"),
    "failure": ("type", "message", ""),
    "error": ("type", "message", ""),
    "system-out": ("", "", ""),
    "system-err": ("", "", ""),
}
PATTERNS = {
    "time": r"\d+\.\d+",
    "timestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",
    **dict.fromkeys(("tests", "failures", "errors", "id"), r"\d+"),
}


def valid(text: str) -> ET.Element:
    """The root, once every element is as the schemas want it."""
    root = ET.fromstring(text.encode())  # noqa: S314 (our own output)
    assert root.tag == "testsuites"
    for element in root.iter():
        required, optional, children = SCHEMA[element.tag]
        names = set(element.attrib)
        assert set(required.split()) <= names <= set(f"{required} {optional}".split())
        assert re.fullmatch(children, "".join(f"{child.tag}," for child in element))
        for name in names & PATTERNS.keys():
            if element.tag != "property":
                assert re.fullmatch(PATTERNS[name], element.attrib[name])
    return root


def test_junit_has_a_case_for_each_table_and_each_refusal() -> None:
    (suite,) = valid(FORMATS["junit"](FULL))
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["8", "2", "1"]
    assert suite.get("timestamp") == "2023-11-14T22:13:20"
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    failure, error = cases["order_items"].find("failure"), cases["logs"].find("error")
    assert failure is not None and failure.text is not None
    assert "price: '19.90' → '19.09'" in failure.text
    assert "… and 12,341 more (differences.ndjson has all)" in failure.text
    assert error is not None and "no sync is running" in (error.get("message") or "")
    assert len(cases["orders"]) == 0


@pytest.mark.parametrize("text", NASTY)
def test_junit_is_valid_whatever_a_value_holds(text: str) -> None:
    valid(FORMATS["junit"](nasty(text)))


# -- Markdown --------------------------------------------------------------------------------


def rendered(text: str) -> list[str]:
    """The kinds of all tokens, with the content of raw HTML."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        for each in [token, *(token.children or [])]:
            raw = each.content if each.type.startswith("html") else ""
            found.append(f"{each.type} {raw}".strip())
    return found


@pytest.mark.parametrize("text", NASTY)
def test_markdown_takes_nothing_for_markup(text: str) -> None:
    tokens = rendered(markdown(nasty(text)))
    assert {t for t in tokens if t.startswith("html")} == {
        "html_inline <code>",
        "html_inline </code>",
    }
    kinds = {token.split()[0] for token in tokens}
    assert not kinds & {"link_open", "image", "em_open", "strong_open", "blockquote_open"}
    assert tokens.count("td_open") == 3 * 7
    assert tokens.count("heading_open") == 4
    assert tokens.count("fence") == 2


def test_markdown_mentions_nobody() -> None:
    shielded = re.compile(r"<code>.*?</code>|^(`{3,}).*?^\1$", re.DOTALL | re.MULTILINE)
    outside = shielded.sub("", markdown(nasty(NASTY[4])))
    assert not re.search(r"@|&#64;|#\d|://|www\.", re.sub(r"&#(?!64;|35;)\d+;", "", outside))


@pytest.mark.parametrize("wide", ["x", "語", "🙂"])
def test_markdown_fits_a_comment_and_says_what_it_leaves_out(wide: str) -> None:
    long = tuple(
        Difference({"id": str(n)}, "differs", (ColumnDifference("c", wide * 300, wide * 299),))
        for n in range(9_000)
    )
    tables = [
        replace(ITEMS, table=TableName("shop", f"t{n}"), differences=long, differing=9_000)
        for n in range(30)
    ]
    text = markdown(replace(FULL, tables=tuple(tables)))
    assert 30_000 < len(text.encode()) <= MOST_BYTES
    assert "… and what " in text
    shown = text.count("! differs id=")
    assert 0 < shown < 9_000
    text = markdown(replace(FULL, tables=tuple(tables[:1])))
    assert f"{9_000 - text.count('! differs id='):,} more" in text.replace("&#46;", ".")
    many = [TableVerdict(TableName("shop", f"{wide * 60}{n}"), "match") for n in range(5_000)]
    text = markdown(replace(FULL, tables=(*many, ITEMS)))
    assert len(text.encode()) <= MOST_BYTES
    assert re.search(r"… and [\d,]+ more tables, 0 no match\.", text)
    assert "### <code>shop&#46;order&#95;items</code>" in text


# -- HTML ------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """All elements with their attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_needs_nothing_from_elsewhere() -> None:
    text = page(FULL)
    found = Elements(text)
    assert not {"script", "iframe", "img", "object", "form"} & set(found.tags)
    assert re.findall(r"<link[^>]*>", text) == ['<link rel="icon" href="data:,">']
    assert not re.search(r"https?:|@import|url\(|src=", text)
    assert f'content="{POLICY}"' in text
    assert "svg" in found.tags


@pytest.mark.parametrize("text", NASTY)
def test_the_page_shows_values_as_text(text: str) -> None:
    plain, tried = Elements(page(nasty("x"))), Elements(page(nasty(text)))
    assert [tag for tag in tried.tags if tag != "mark"] == [t for t in plain.tags if t != "mark"]
    assert tried.attributes <= plain.attributes | {"class"}
    assert not any(c in "".join(tried.texts) for c in "\x00\x01\x1b\u202e\u200b")


def test_the_page_says_all_there_is() -> None:
    texts = "".join(Elements(page(FULL)).texts)
    for said in (
        "Mismatch: shop", "0.4 s", "shop.order_items", "12,345", "1,297,192 in 5 tables",
        "… and 12,341 more (differences.ndjson has all)", "12345 rows differ", "zero_date: as-null",
        "0-1-88120,1-7-3", "•••", "dbbridge sync", "2023-11-14 22:13:20 UTC",
    ):  # fmt: skip
        assert said in texts, said


def test_the_page_stays_one_that_a_browser_opens() -> None:
    many = tuple(Difference({"id": str(n)}, "missing") for n in range(9_000))
    tables = tuple(
        replace(ITEMS, table=TableName("shop", f"t{n}"), differences=many, differing=9_000)
        for n in range(60)
    )
    text = page(replace(FULL, tables=tables))
    assert text.count("<td>missing</td>") == MOST_DIFFERENCES
    assert "8,900 more" in text
    assert "9,000 more" in text


def luminance(colour: str) -> float:
    """Of sRGB, as WCAG 2.2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_texts_are_legible(scheme: int) -> None:
    style = (files("bridge.report") / "page.css").read_text("utf-8")
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", block))
    pairs = [(text, ground) for text in ("text", "soft") for ground in ("page", "card")]
    pairs += [
        (v, ground)
        for v in ("match", "mismatch", "inconclusive")
        for ground in ("card", f"{v}-tint")
    ]
    pairs += [("text", f"{v}-tint") for v in ("match", "mismatch", "inconclusive")]
    for text, ground in pairs:
        one, other = sorted((luminance(colours[text]), luminance(colours[ground])))
        assert (other + 0.05) / (one + 0.05) >= 4.5, (text, ground)


def test_an_empty_run_is_printed_as_well() -> None:
    for shape in FORMATS.values():
        assert "inconclusive" in shape(Verification("p", "values")).lower()
