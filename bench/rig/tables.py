"""The tables of the rig's services, each in a database of its own."""

from typing import Literal

Name = Literal["cart", "order", "inventory", "payment"]

NAMES: tuple[Name, ...] = ("cart", "order", "inventory", "payment")

_MESSAGING = """
    CREATE TABLE inbox (id uuid PRIMARY KEY);
    CREATE TABLE outbox (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        topic text NOT NULL, partition int NOT NULL, key bytea NOT NULL, value bytea NOT NULL
    );
"""

TABLES: dict[Name, str] = {
    "cart": f"""
        {_MESSAGING}
        CREATE TABLE carts (checkout_id uuid PRIMARY KEY, lines jsonb NOT NULL);
    """,
    "order": f"""
        {_MESSAGING}
        CREATE TABLE orders (
            checkout_id uuid PRIMARY KEY, state text NOT NULL, total_minor bigint NOT NULL,
            lines jsonb NOT NULL
        );
    """,
    "inventory": f"""
        {_MESSAGING}
        CREATE TABLE levels (
            sku text PRIMARY KEY, on_hand bigint NOT NULL, reserved bigint NOT NULL DEFAULT 0,
            CHECK (reserved BETWEEN 0 AND on_hand)
        );
        CREATE TABLE reservation_lines (
            checkout_id uuid, sku text, quantity int NOT NULL, PRIMARY KEY (checkout_id, sku)
        );
    """,
    "payment": f"""
        {_MESSAGING}
        CREATE TABLE payments (checkout_id uuid PRIMARY KEY, amount_minor bigint NOT NULL);
    """,
}
