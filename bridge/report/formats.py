"""The formats of a verification by name, and which of them a file's name asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bridge.report.junit import junit
from bridge.report.markdown import markdown
from bridge.report.page import page
from bridge.report.verification import Verification

Format = Callable[[Verification], str]
FORMATS: Mapping[str, Format] = {"junit": junit, "markdown": markdown, "html": page}
SUFFIXES: Mapping[str, Format] = {".xml": junit, ".md": markdown, ".html": page}
"""A file with another ending gets every difference, one JSON object a line."""
