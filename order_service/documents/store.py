"""Documents and the counters that number them: drawn and written at the end of a transaction.

A counter's row is the hottest row there is: every paid order of a shop goes through it. It is
locked behind everything else that a transaction does, just before the commit, and all the series of
a batch in one statement, sorted, which writes the documents too.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, TypeAdapter

from messaging.database import Connection, sql
from messaging.points import Point, reach
from order_service.documents.domain import (
    CreditNote,
    Document,
    Invoice,
    Kind,
    Receipt,
    invoice_id_of,
    numbered,
    receipt_number,
    series_of,
)
from order_service.documents.issuing import Draft

_CONTENT: TypeAdapter[Document] = TypeAdapter(Annotated[Document, Field(discriminator="kind")])

_THERE = sql("SELECT document_id FROM documents WHERE document_id = ANY(CAST(:ids AS uuid[]))")

_COLUMNS = {
    "document_id": "uuid",
    "shop_id": "text",
    "order_id": "uuid",
    "kind": "text",
    "attempt": "int",
    "refund": "int",
    "invoice_id": "uuid",
    "series": "text",
    "year": "int",
    "currency": "text",
    "net_minor": "bigint",
    "gross_minor": "bigint",
    "content": "json",
    "issued_at": "timestamptz",
}

_GIVEN = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in _COLUMNS.items())

# `later` counts those of a document's series that come behind it in this batch.
_ISSUE = sql(f"""
    WITH drawn AS (
        INSERT INTO document_series AS s (shop_id, series, year, last)
        SELECT * FROM unnest(
            CAST(:drawn_shops AS text[]), CAST(:drawn_series AS text[]),
            CAST(:drawn_years AS int[]), CAST(:drawn_many AS bigint[])
        ) AS n (shop_id, series, year, many)
        ORDER BY shop_id, series, year
        ON CONFLICT (shop_id, series, year) DO UPDATE SET last = s.last + excluded.last
        RETURNING shop_id, series, year, last
    )
    INSERT INTO documents ({", ".join(_COLUMNS)}, sequence)
    SELECT {", ".join(f"n.{name}" for name in _COLUMNS)}, d.last - n.later
    FROM unnest({_GIVEN}, CAST(:later AS bigint[])) AS n ({", ".join(_COLUMNS)}, later)
    LEFT JOIN drawn d USING (shop_id, series, year)
""")  # noqa: S608 - built from the constants above


async def issue(connection: Connection, drafts: Sequence[Draft], service: str) -> None:
    """Issue documents when everything else of this transaction is written."""
    unless = sorted({other for draft in drafts for other in draft.unless})
    there: set[UUID] = set()
    if unless:
        there.update(await connection.fetch_column(_THERE, {"ids": unless}))
    due = [draft.document for draft in drafts if there.isdisjoint(draft.unless)]
    if due:
        connection.before_commit(partial(_issue, connection, due, service))


async def _issue(connection: Connection, due: Sequence[Document], service: str) -> None:
    rows = [_row(document) for document in due]
    many = Counter(_key(row) for row in rows if row["series"] is not None)
    drawn, so_far = sorted(many), Counter[tuple[str, str, int]]()
    for row in rows:
        key = _key(row)
        so_far[key] += 1
        row["later"] = many[key] - so_far[key]
    values: dict[str, Any] = {name: [row[name] for row in rows] for name in (*_COLUMNS, "later")}
    values["drawn_shops"] = [shop for shop, _, _ in drawn]
    values["drawn_series"] = [series for _, series, _ in drawn]
    values["drawn_years"] = [year for _, _, year in drawn]
    values["drawn_many"] = [many[key] for key in drawn]
    await connection.execute(_ISSUE, values)
    await reach(Point.NUMBERS_DRAWN, service, {document.kind for document in due})


def _key(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["shop_id"], row["series"], row["year"]


def _row(document: Document) -> dict[str, Any]:
    head, series = document.head, series_of(document)
    is_invoice = isinstance(document, Invoice)
    return {
        "document_id": document.id,
        "shop_id": head.shop_id,
        "order_id": head.order_id,
        "kind": document.kind.value,
        "attempt": document.attempt,
        "refund": document.refund if isinstance(document, CreditNote) else 0,
        "invoice_id": None if is_invoice else invoice_id_of(head.order_id, document.attempt),
        "series": series,
        "year": None if series is None else head.issued_on.year,
        "currency": head.currency,
        "net_minor": document.net_minor,
        "gross_minor": document.gross_minor,
        "content": _CONTENT.dump_json(document).decode(),
        "issued_at": head.issued_at,
    }


def content_of(document: Document) -> Any:
    """All that a document says, as plain values."""
    return _CONTENT.dump_python(document, mode="json")


@dataclass(frozen=True, slots=True)
class Issued:
    """A document as it was issued, with its number and that of the invoice it belongs to."""

    document: Document
    number: str
    invoice_number: str | None


_LIST = sql("""
    SELECT document_id, d.kind, d.series, d.year, d.sequence, d.attempt, o.number, d.issued_at,
        d.currency, d.gross_minor
    FROM documents d JOIN orders o USING (order_id)
    WHERE order_id = :order_id
    ORDER BY d.issued_at, d.kind = 'credit_note', d.kind, d.refund
""")


async def list_documents(connection: Connection, order_id: UUID) -> Sequence[Any]:
    """The documents of an order, the oldest first; `number_in` gives the number of a row."""
    return await connection.fetch(_LIST, {"order_id": order_id})


def number_in(row: Any) -> str:
    """The number of a listed document."""
    if row.kind == Kind.RECEIPT:
        return receipt_number(row.number, row.attempt)
    return numbered(row.series, row.year, row.sequence)


_READ = sql("""
    SELECT d.content::text, d.series, d.year, d.sequence,
        i.series AS invoice_series, i.year AS invoice_year, i.sequence AS invoice_sequence
    FROM documents d LEFT JOIN documents i ON i.document_id = d.invoice_id
    WHERE d.order_id = :order_id AND d.document_id = :document_id
""")


async def read_document(connection: Connection, order_id: UUID, document_id: UUID) -> Issued | None:
    """A document of an order."""
    row = await connection.fetch_one(_READ, {"order_id": order_id, "document_id": document_id})
    if row is None:
        return None
    document = _CONTENT.validate_json(row.content)
    return Issued(
        document,
        receipt_number(document.head.order_number, document.attempt)
        if isinstance(document, Receipt)
        else numbered(row.series, row.year, row.sequence),
        None
        if row.invoice_sequence is None
        else numbered(row.invoice_series, row.invoice_year, row.invoice_sequence),
    )
