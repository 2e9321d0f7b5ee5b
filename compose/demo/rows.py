"""What each column of the shop holds: SQL expressions over a row's number ``n``.

What looks random is CRC32 of the number and a salt, which MySQL and MariaDB compute alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bridge.names import literal_mysql

FIRST = ("Ada", "Björn", "Chloé", "Dörte", "Élodie", "Frida", "Günther", "Hélène", "Ivo", "José")
LAST = ("Müller", "O'Brien", "García", "Weiß", "Jansen", "Côté", "Ångström", "Smith", "Nuñez", "Ek")
STREETS = ("Große Straße", "Rue de l'Été", "High Street", "Calle Año Nuevo", "Storgatan", "Am Ütz")
CITIES = ("Köln", "Orléans", "York", "A Coruña", "Malmö", "Zürich", "Tromsø", "Gent")
WORDS = ("solid", "blue", "garden", "piano", "café", "travel", "naïve", "tiny", "100 % wool", "🎁")
NOTES = ("Bitte klingeln", "après 18 h", "50 € bar", "„Vorsicht“")
COUNTRIES = {
    "AT": "Österreich", "BE": "België", "CH": "Schweiz", "DE": "Deutschland", "DK": "Danmark",
    "ES": "España", "FI": "Suomi", "FR": "France", "GB": "United Kingdom", "IE": "Éire",
    "IT": "Italia", "LU": "Lëtzebuerg", "NL": "Nederland", "NO": "Norge", "PT": "Portugal",
    "SE": "Sverige",
}  # fmt: skip
SETTINGS = {
    "currency": "EUR",
    "vat": "1.19",
    "theme": 'a:2:{s:4:"name";s:7:"summer🌞";s:4:"dark";b:0;}',
    "mail.footer": "Your shop\nGroße Straße 1\tKöln\r\nC:\\shop\\mail",
    "empty": "",
}
CATEGORIES = 120
MOST = 4294967291
"""The largest prime below 2**32."""


def _any(salt: str, below: int | str = MOST) -> str:
    """A number from 0 on, below that one.

    CRC32 alone is linear: the numbers of two salts of one length would go together.
    """
    number = f"CRC32(CONCAT(n, '{salt}')) * 2654435761 % {MOST}"
    return f"CAST({number} % {below} AS SIGNED)"


def _one(salt: str, texts: Sequence[str]) -> str:
    return f"ELT(1 + {_any(salt, len(texts))}, {', '.join(map(literal_mysql, texts))})"


def _some(percent: int, salt: str, value: str, otherwise: str = "NULL") -> str:
    return f"IF({_any(salt, 100)} < {percent}, {value}, {otherwise})"


def _moment(salt: str) -> str:
    """A second of the ten years."""
    return f"'2014-03-01 00:00:00' + INTERVAL {_any(salt, 3600 * 86400)} SECOND"


def _day(salt: str) -> str:
    return f"DATE({_moment(salt)})"


def _cents(salt: str, most: int) -> str:
    return f"{_any(salt, most * 100)} / 100"


def _sentence(salt: str) -> str:
    return "CONCAT_WS(' ', " + ", ".join(_one(f"{salt}{i}", WORDS) for i in range(5)) + ")"


def _sku(index: str) -> str:
    """The product of a number from 0 on; some are written in small letters."""
    code = f"CONCAT(ELT(1 + {index} % 5, 'BK', 'TX', 'Gd', 'TO', 'HW'), '-', LPAD({index}, 6, '0'))"
    return f"IF({index} % 17 = 3, LOWER({code}), {code})"


def _joined(*parts: str) -> str:
    return f"CONCAT({', '.join(parts)})"


_HASH = "SHA2(n, 256)"  # MySQL 9 has neither MD5 nor SHA1
_LAST_BYTE = f"IF(n % 64 = 0, '00', SUBSTR({_HASH}, 29, 2))"
_UUID_DIGITS = (
    f"LEFT({_HASH}, 12)", "'4'", f"SUBSTR({_HASH}, 13, 3)", "'a'", f"SUBSTR({_HASH}, 16, 13)",
)  # fmt: skip
_PREFERENCES = _joined(
    """'{"lang": "'""", _one("lang", ("de", "fr")), """'", "size": '""", _any("size", 60),
    """'.50, "tags": ["é", null]}'""",
)  # fmt: skip
_ATTRIBUTES = _joined(
    """'{"colour":"'""", _one("colour", WORDS), """'","weight": '""", _any("w", 900),
    """'e-2, "id": 9007199254740993}'""",
)  # fmt: skip
_STATUS = "ELT(1 + n % 7, 'new', 'active', 'active', 'active', 'active', 'blocked', 'gone')"
_LONG_AGO = f"{_day('day')} - INTERVAL 30 YEAR"
_PARTLY_KNOWN = _some(2, "partly", "'2015-00-00'", _day("released"))

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "categories": {
        "id": "n",
        "parent": "NULLIF(n DIV 6, 0)",
        "title": _joined(_one("title", WORDS[:8]), "' '", "n"),
        "position": _any("position", 256),
    },
    "customers": {
        "id": "n",
        "email": _joined(_one("box", ("info", "Ana.Li", "SHOP", "kö")), "n", "'@example.org'"),
        "name": _joined(_one("first", FIRST), "' '", _one("last", LAST)),
        "status": _some(1, "none", "''", _STATUS),
        "interests": _any("interests", 32),
        "newsletter": _any("newsletter", 2),
        "preferences": _some(70, "prefers", _PREFERENCES),
        "birthday": _some(80, "born", _LONG_AGO, _some(20, "zero", "'0000-00-00'")),
        "credit": f"{_cents('credit', 900)} - 150",
        "registered_at": _moment("registered"),
        "last_login": _some(60, "seen", _moment("login")),
    },
    "addresses": {
        "id": "n",
        "customer_id": "1 + (n - 1) * 7 % :customers",
        "kind": "1 + n % 3",
        "street": _joined(_one("street", STREETS), "' '", _any("house", 200)),
        "zip": f"LPAD({_any('zip', 99999)}, 5, '0')",
        "city": _one("city", CITIES),
        "country": _one("country", tuple(COUNTRIES)),
    },
    "products": {
        "sku": _sku("(n - 1)"),
        "category_id": _some(90, "in", f"1 + {_any('category', CATEGORIES)}"),
        "title": _joined(_one("kind", WORDS), "' '", _one("thing", WORDS), "' '", "n"),
        "description": _joined(_sentence("a"), r"'\n'", _sentence("b"), r"'\tNo. '", "n", r"'\\'"),
        "attributes": _some(50, "has", _ATTRIBUTES),
        "price": _cents("price", 2000),
        "weight": _some(80, "weighs", f"{_any('grams', 90000)} / 1000"),
        "rating": _some(60, "rated", f"1 + {_any('rating', 4000001)} / 1000000"),
        "marks": _any("marks", 64),
        "discontinued": _some(2, "odd", "2", _any("discontinued", 2)),
        "model_year": _some(70, "year", f"2000 + {_any('model', 25)}"),
        "released": _some(4, "unknown", "'0000-00-00'", _PARTLY_KNOWN),
        "views": _any("views"),
    },
    "stock": {
        "warehouse": "ELT(1 + (n - 1) % 3, 'BER', 'LYO', 'mad')",
        "sku": _sku("((n - 1) DIV 3)"),
        "on_hand": f"{_any('hand', 1000)} - 20",
        "reserved": _any("reserved", 40),
        "shelf": _any("shelf", 99999),
        "counted_on": _some(90, "counted", _day("counted")),
    },
    "coupons": {
        "code": _joined(_one("code", ("SPRING", "vip", "NOËL")), "'-'", "n"),
        "percent": f"{_any('percent', 10000)} / 100",
        "uses": _any("uses", 3000000000),
        "valid_from": _day("from"),
        "valid_until": _some(50, "ends", _day("until"), _some(30, "never", "'0000-00-00'")),
        "note": _some(30, "note", "'50 € off for our “best” customers'"),
    },
    "orders": {
        "id": "n",
        "customer_id": _some(95, "known", f"1 + {_any('customer', ':customers')}"),
        "state": f"1 + {_any('state', 5)}",
        "is_gift": _any("gift", 2),
        "coupon": _some(10, "coupon", _joined("'vip-'", "n % 1000")),
        "total": _cents("total", 5000),
        "note": _some(15, "says", _one("note", NOTES)),
        "placed_at": f"{_moment('placed')} + INTERVAL {_any('ms', 1000)} * 1000 MICROSECOND",
        "paid_at": _some(75, "paid", _moment("paidat"), "'0000-00-00 00:00:00'"),
        "updated_at": _moment("updated"),
    },
    "order_items": {
        "order_id": "1 + (n - 1) DIV 2",
        "line": "1 + (n - 1) % 2",
        "sku": _sku(_any("product", ":products")),
        "quantity": f"1 + {_any('quantity', 5)}",
        "price": _cents("itemprice", 2000),
        "discount": _some(20, "less", f"{_any('discount', 5000)} / 10000", "0"),
        "engraving": _some(5, "engraved", _joined("'für '", _one("for", FIRST), "' ♥'")),
    },
    "payments": {
        "id": f"UNHEX({_joined(*_UUID_DIGITS, _LAST_BYTE)})",
        "order_id": f"1 + {_any('order', ':orders')}",
        "method": f"1 + {_any('method', 4)}",
        "amount": _cents("amount", 5000),
        "receipt": _some(40, "receipt", f"CONCAT(UNHEX(LEFT({_HASH}, 30)), 0x00)"),
        "made_at": f"{_moment('made')} + INTERVAL {_any('us', 1000000)} MICROSECOND",
    },
    "deliveries": {
        "id": "n",
        "order_id": f"1 + {_any('order', ':orders')}",
        "carrier": f"1 + {_any('carrier', 3)}",
        "took": _some(90, "arrived", f"SEC_TO_TIME({_any('took', 800 * 3600)})"),
        "late_by": _some(50, "late", f"SEC_TO_TIME({_any('lateby', 90000)} / 10 - 3600)"),
        "delivered_at": _some(90, "arrived", _moment("delivered")),
    },
    "reviews": {
        "customer_id": "1 + n * 7919 % :customers",
        "sku": _sku("(n % :products)"),
        "stars": _any("stars", 6),
        "title": _one("head", ("Great!", "meh", "Très bien", "never again 😡", "")),
        "body": _some(70, "wrote", f"REPEAT({_sentence('c')}, 1 + {_any('long', 6)})"),
        "seen": _some(1, "wrapped", f"{2**64 - 1} - {_any('wraps', 9)}", _any("seen", 5000)),
    },
    "sessions": {
        "token": "LEFT(SHA2(CONCAT('session', n), 256), 40)",
        "customer_id": _some(70, "login", f"1 + {_any('customer', ':customers')}"),
        "data": _some(90, "data", f"UNHEX(REPEAT({_HASH}, 1 + {_any('bytes', 20)}))"),
        "expires": f"1700000000 + {_any('expires', 2500000000)}",
    },
    "audit_log": {
        "at": _moment("at"),
        "who": _one("who", ("cron", "Dörte", "import", "root")),
        "what": _one("what", ("login", "price", "price", "stock")),
        "detail": _some(60, "detail", _joined("'row '", "n DIV 4", "': '", _one("d", WORDS[:8]))),
    },
}
"""Column → expression, a table; ``:orders`` and the like stand for the number of such rows."""
