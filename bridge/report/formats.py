"""The formats of a verification by name, and which of them a file's name asks for.

Each is imported when it is asked for: most verifications ask for none, and Python's own modules for
XML bring a web client with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bridge.report.verification import Verification

Format = Callable[[Verification], str]


def _junit(result: Verification) -> str:
    from bridge.report.junit import junit

    return junit(result)


def _markdown(result: Verification) -> str:
    from bridge.report.markdown import markdown

    return markdown(result)


def _page(result: Verification) -> str:
    from bridge.report.page import page

    return page(result)


FORMATS: Mapping[str, Format] = {"junit": _junit, "markdown": _markdown, "html": _page}
SUFFIXES: Mapping[str, Format] = {".xml": _junit, ".md": _markdown, ".html": _page}
"""A file with another ending gets every difference, one JSON object a line."""
