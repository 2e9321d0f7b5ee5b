"""MySQL's expressions in PostgreSQL's words, where both are known to mean the same.

The servers print generated columns, CHECK constraints, defaults and functional indexes in a
canonical form. sqlglot parses it; what is understood is an allow-list of nodes, each with the types
for which the two databases agree for every value: ranges are computed so that nothing overflows,
text is only compared where letters and spaces mean themselves, division and its like are left
alone. Anything else raises `Untranslatable`, whose message says why; nothing is guessed.
"""

from __future__ import annotations

from bridge.mapping.expressions.public import condition, constant, generated, index_part
from bridge.mapping.expressions.values import Untranslatable

__all__ = ["Untranslatable", "condition", "constant", "generated", "index_part"]
