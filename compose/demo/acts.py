"""What the shop's application does, each act one transaction.

An act gets a `Clerk`, who knows the connection and where chance lies; `ACTS` says how often each
is done.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from compose.demo.rows import CITIES, COUNTRIES, FIRST, LAST, NOTES, STREETS, WORDS

if TYPE_CHECKING:
    from compose.demo.databases import Source

WAREHOUSES = ("BER", "LYO", "mad")
ZERO = "0000-00-00 00:00:00"


class NothingThere(Exception):
    """No row to do the act on."""


class ChangedMind(Exception):
    """The act is to be rolled back."""


@dataclass(frozen=True)
class Clerk:
    """One user of the shop: a connection without autocommit, and chance."""

    conn: Source
    chance: Random

    def do(self, statement: str, *values: object) -> int:
        """Runs a statement; the number of rows it changed."""
        with self.conn.cursor() as cursor:
            return cursor.execute(statement, values)

    def many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Inserts several rows with one statement."""
        with self.conn.cursor() as cursor:
            cursor.executemany(statement, rows)

    def new_id(self, statement: str, *values: object) -> int:
        """Inserts a row; the id that the server gave it."""
        with self.conn.cursor() as cursor:
            cursor.execute(statement, values)
            return int(cursor.lastrowid)

    def one(self, statement: str, *values: object) -> Any:
        """The first column of the first row; raises NothingThere."""
        with self.conn.cursor() as cursor:
            cursor.execute(statement, values)
            row = cursor.fetchone()
        if row is None or row[0] is None:
            raise NothingThere
        return row[0]

    def some(self, table: str) -> int:
        """The id of some row of customers, orders, categories or deliveries."""
        return int(
            self.one(
                f"SELECT id FROM {table} WHERE id >= %s * (SELECT MAX(id) FROM {table})"
                " ORDER BY id LIMIT 1",
                self.chance.random(),
            )
        )

    def product(self) -> str:
        """Some product's sku."""
        near = (
            f"{self.chance.choice(['BK', 'TX', 'Gd', 'TO', 'HW'])}-{self.chance.randrange(9000):06}"
        )
        return str(
            self.one("SELECT sku FROM products WHERE sku <= %s ORDER BY sku DESC LIMIT 1", near)
        )

    def pick(self, texts: Sequence[str]) -> str:
        """One of the texts."""
        return self.chance.choice(texts)

    def cents(self, most: int) -> str:
        """An amount of money."""
        return f"{self.chance.randrange(most * 100) / 100:.2f}"

    def token(self) -> str:
        """Forty hexadecimal digits."""
        return f"{self.chance.getrandbits(160):040x}"

    def uuid(self) -> bytes:
        """A version 4 UUID; now and then one that ends in a zero byte."""
        raw = uuid.UUID(int=self.chance.getrandbits(128), version=4).bytes
        return raw[:15] + b"\0" if self.chance.random() < 0.1 else raw


def place_order(clerk: Clerk) -> None:
    """An order with its lines, perhaps its payment, and the stock that it takes."""
    total = clerk.cents(4000)
    order = clerk.new_id(
        "INSERT INTO orders (customer_id, state, is_gift, total, note, placed_at)"
        " VALUES (%s, 'placed', %s, %s, %s, NOW(3))",
        clerk.some("customers"),
        clerk.chance.randrange(2),
        total,
        clerk.pick((*NOTES, "")),
    )
    skus = [clerk.product() for _ in range(clerk.chance.randint(1, 4))]
    clerk.many(
        "INSERT INTO order_items (order_id, line, sku, quantity, price, engraving)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        [(order, i, sku, i, clerk.cents(900), "für Zoë ♥") for i, sku in enumerate(skus, 1)],
    )
    for sku in sorted(set(skus)):
        clerk.do(
            "UPDATE stock SET reserved = reserved + 1 WHERE warehouse = %s AND sku = %s",
            clerk.pick(WAREHOUSES),
            sku,
        )
    if clerk.chance.random() < 0.5:
        _pay(clerk, order, total)


def pay_order(clerk: Clerk) -> None:
    """A payment, and the order that it is for."""
    order = clerk.some("orders")
    _pay(clerk, order, clerk.cents(4000))
    clerk.do("UPDATE orders SET state = 'paid', paid_at = NOW() WHERE id = %s", order)


def return_order(clerk: Clerk) -> None:
    """Back to unpaid, which this application writes as a zero date."""
    order = clerk.some("orders")
    clerk.do("UPDATE orders SET state = 'returned', paid_at = %s WHERE id = %s", ZERO, order)
    clerk.do("DELETE FROM payments WHERE order_id = %s", order)


def cancel_order(clerk: Clerk) -> None:
    """The lines go by the foreign key's cascade."""
    order = clerk.some("orders")
    clerk.do("DELETE FROM payments WHERE order_id = %s", order)
    clerk.do("DELETE FROM orders WHERE id = %s", order)


def renumber_lines(clerk: Clerk) -> None:
    """A change of half of a composite key."""
    order = clerk.some("orders")
    clerk.do(
        "UPDATE order_items SET line = line + 100 WHERE order_id = %s ORDER BY line DESC", order
    )


def deliver(clerk: Clerk) -> None:
    """Times beyond a day, and negative ones."""
    clerk.do(
        "INSERT INTO deliveries (order_id, carrier, took, late_by, delivered_at)"
        " VALUES (%s, %s, %s, %s, NOW())",
        clerk.some("orders"),
        clerk.pick(("bike", "post", "truck")),
        f"{clerk.chance.randrange(830)}:59:59",
        f"{clerk.pick(('-', ''))}{clerk.chance.randrange(40)}:00:00.5",
    )
    clerk.do(
        "UPDATE deliveries SET late_by = SUBTIME('00:00:00', late_by) WHERE id = %s",
        clerk.some("deliveries"),
    )


def sign_up(clerk: Clerk) -> None:
    """A customer with an address and an opinion."""
    customer = clerk.new_id(
        "INSERT INTO customers (email, name, interests, newsletter, preferences, birthday,"
        " registered_at) VALUES (%s, %s, 'books,music', %s, %s, '0000-00-00', NOW())",
        f"Né.w{clerk.token()[:16]}@example.org",
        f"{clerk.pick(FIRST)} {clerk.pick(LAST)}",
        clerk.chance.randrange(2),
        json.dumps({"lang": "fr", "nested": {"π": 3.14, "list": [1, None, "🎁", "\\"]}}),
    )
    clerk.do(
        "INSERT INTO addresses (customer_id, kind, street, zip, city, country)"
        " VALUES (%s, 'shipping', %s, '01067', %s, %s)",
        customer,
        f"{clerk.pick(STREETS)} {clerk.chance.randrange(99)}",
        clerk.pick(CITIES),
        clerk.pick(tuple(COUNTRIES)),
    )
    clerk.do(
        "INSERT INTO reviews (customer_id, sku, stars, body, seen) VALUES (%s, %s, %s, %s, %s)",
        customer,
        clerk.product(),
        clerk.chance.randrange(6),
        " ".join(clerk.chance.choices(WORDS, k=40)),
        2**64 - 1 - clerk.chance.randrange(3),
    )


def edit_customer(clerk: Clerk) -> None:
    """The e-mail address in other letters, a status that the enum does not have, JSON."""
    customer = clerk.some("customers")
    change = clerk.pick(("UPPER(email)", "LOWER(email)", "email"))
    clerk.do(
        f"UPDATE customers SET email = {change}, status = %s, credit = credit - 0.01,"
        " preferences = JSON_SET(COALESCE(preferences, '{}'), '$.seen', %s), last_login = NOW()"
        " WHERE id = %s",
        clerk.pick(("active", "blocked", "sleeping")),
        clerk.chance.randrange(1000),
        customer,
    )


def swap_emails(clerk: Clerk) -> None:
    """Two values of a unique index change places."""
    one, other = sorted((clerk.some("customers"), clerk.some("customers")))
    if one == other:
        raise NothingThere
    query = "SELECT email FROM customers WHERE id = %s FOR UPDATE"
    first, second = clerk.one(query, one), clerk.one(query, other)
    update = "UPDATE customers SET email = %s WHERE id = %s"
    clerk.do(update, clerk.token(), one)
    clerk.do(update, first, other)
    clerk.do(update, second, one)


def delete_customer(clerk: Clerk) -> None:
    """Addresses and reviews go with it by cascades; its orders stay and forget it."""
    customer = clerk.some("customers")
    clerk.do("UPDATE orders SET customer_id = NULL WHERE customer_id = %s", customer)
    clerk.do("DELETE FROM customers WHERE id = %s", customer)


def edit_product(clerk: Clerk) -> None:
    """Price, text and flags; the gross price is generated."""
    clerk.do(
        "UPDATE products SET price = %s, description = CONCAT(description, %s), weight = %s,"
        " rating = %s, marks = %s, released = %s, discontinued = %s WHERE sku = %s",
        clerk.cents(2000),
        clerk.pick(("", "\n", " — neu!", "\t\\N")),
        clerk.chance.choice([None, 0.1, 16777217, 1e-30]),
        clerk.chance.random() * 5,
        clerk.chance.randrange(64),
        clerk.pick(("2020-02-29", "0000-00-00", "2019-00-00")),
        clerk.chance.randrange(3),
        clerk.product(),
    )


def reprice(clerk: Clerk) -> None:
    """All products of a category with one statement."""
    clerk.do(
        "UPDATE products SET price = price * 1.01, views = views + 1 WHERE category_id = %s",
        clerk.some("categories"),
    )


def replace_category(clerk: Clerk) -> None:
    """Its products forget it (SET NULL), and a new one comes."""
    clerk.do("DELETE FROM categories WHERE id = %s", clerk.some("categories"))
    clerk.do("INSERT INTO categories (title, position) VALUES (%s, 255)", clerk.token()[:20])


def rename_coupon(clerk: Clerk) -> None:
    """A text key changes; at times two change places."""
    query = "SELECT code FROM coupons WHERE code >= %s ORDER BY code LIMIT 1 FOR UPDATE"
    update = "UPDATE coupons SET uses = uses + 1, code = %s WHERE code = %s"
    first = clerk.one(query, f"vip-{clerk.chance.randrange(10000)}")
    spare = f"vip-{clerk.chance.randrange(10000)}x{clerk.token()[:6]}"
    clerk.do(update, spare, first)
    if clerk.chance.random() < 0.5:
        second = clerk.one(query, f"SPRING-{clerk.chance.randrange(10000)}")
        clerk.do(update, first, second)
        clerk.do(update, second, spare)


def use_session(clerk: Clerk) -> None:
    """A token that is replaced, one that is renewed under another key, some that expire."""
    near = clerk.token()
    token = clerk.one("SELECT token FROM sessions WHERE token >= %s ORDER BY token LIMIT 1", near)
    data = clerk.chance.randbytes(clerk.chance.randrange(400))
    what = clerk.chance.randrange(4)
    if what == 0:
        clerk.do("REPLACE INTO sessions (token, data, expires) VALUES (%s, %s, 1)", token, data)
    elif what == 1:
        clerk.do("UPDATE sessions SET token = %s, data = %s WHERE token = %s", near, data, token)
    elif what == 2:
        clerk.do("DELETE FROM sessions WHERE token = %s", token)
    else:
        clerk.do("INSERT INTO sessions (token, data, expires) VALUES (%s, %s, 2)", near, data)


def count_stock(clerk: Clerk) -> None:
    """Some shelves of a warehouse with one statement, and one product more."""
    shelf = clerk.chance.randrange(99_000)
    clerk.do(
        "UPDATE stock SET counted_on = CURDATE(), on_hand = on_hand - 1"
        " WHERE warehouse = %s AND shelf BETWEEN %s AND %s",
        clerk.pick(WAREHOUSES),
        shelf,
        shelf + 100,
    )
    clerk.do(
        "INSERT INTO stock (warehouse, sku, on_hand, shelf) VALUES ('gen', %s, 1, %s)"
        " ON DUPLICATE KEY UPDATE on_hand = on_hand + 1",
        clerk.product(),
        shelf,
    )


def keep_log(clerk: Clerk) -> None:
    """The table without a key: equal lines come, change and go."""
    for _ in range(2):
        clerk.do("INSERT INTO audit_log VALUES (NOW(), 'clerk', 'login', 'Käse')")
    who = clerk.pick(("cron", "import", "clerk"))
    clerk.do("UPDATE audit_log SET detail = 'seen: 5 €' WHERE who = %s LIMIT 1", who)
    clerk.do("DELETE FROM audit_log WHERE who = %s LIMIT 1", who)


def change_setting(clerk: Clerk) -> None:
    """A row that everybody writes."""
    clerk.do("UPDATE settings SET value = %s WHERE name = 'theme'", f"{clerk.token()}\n\t\\🌞")


def change_mind(clerk: Clerk) -> None:
    """Everything above, and then not: nothing of it may arrive."""
    place_order(clerk)
    delete_customer(clerk)
    raise ChangedMind


def half_a_change(clerk: Clerk) -> None:
    """Back to a savepoint in the middle of a transaction."""
    edit_customer(clerk)
    clerk.do("SAVEPOINT here")
    cancel_order(clerk)
    reprice(clerk)
    clerk.do("ROLLBACK TO SAVEPOINT here")
    edit_product(clerk)


def _pay(clerk: Clerk, order: int, amount: str) -> None:
    clerk.do(
        "INSERT INTO payments (id, order_id, method, amount, receipt, made_at)"
        " VALUES (%s, %s, %s, %s, %s, NOW(6))",
        clerk.uuid(),
        order,
        clerk.pick(("card", "invoice", "transfer", "wallet")),
        amount,
        clerk.chance.randbytes(16) + b"\0",
    )


Act = Callable[[Clerk], None]
ACTS: dict[Act, int] = {
    place_order: 24,
    pay_order: 14,
    return_order: 5,
    cancel_order: 3,
    renumber_lines: 3,
    deliver: 6,
    sign_up: 6,
    edit_customer: 10,
    swap_emails: 1,
    delete_customer: 1,
    edit_product: 8,
    reprice: 1,
    replace_category: 1,
    rename_coupon: 3,
    use_session: 10,
    count_stock: 4,
    keep_log: 2,
    change_setting: 1,
    change_mind: 3,
    half_a_change: 2,
}
"""How often each act is, among the others."""
