"""Documents and the counters that number them: drawn and written at the end of a transaction.

A counter's row is the hottest row there is: every paid order of a shop goes through it. It is
locked behind everything else that a transaction does but the documents themselves, just before the
commit, and all the series of a batch in one statement, sorted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeAlias
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

_Series: TypeAlias = tuple[str, str, int]
"""A shop, a series of its documents, and the year in which they are counted."""

_THERE = sql("SELECT document_id FROM documents WHERE document_id = ANY(CAST(:ids AS uuid[]))")

_DRAW = sql("""
    INSERT INTO document_series AS s (shop_id, series, year, last)
    SELECT * FROM unnest(
        CAST(:shops AS text[]), CAST(:series AS text[]), CAST(:years AS int[]),
        CAST(:many AS bigint[])
    ) AS n (shop_id, series, year, many)
    ORDER BY shop_id, series, year
    ON CONFLICT (shop_id, series, year) DO UPDATE SET last = s.last + excluded.last
    RETURNING shop_id, series, year, last
""")


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
    last = await _draw(connection, many)
    for row in reversed(rows):
        key = _key(row)
        row["sequence"] = last.get(key)
        if key in last:
            last[key] -= 1
    await connection.append("documents", rows[0], [tuple(row.values()) for row in rows])
    await reach(Point.NUMBERS_DRAWN, service, {document.kind for document in due})


async def _draw(connection: Connection, many: Mapping[_Series, int]) -> dict[_Series, int]:
    """Draw so many numbers of each series; answers the last of each."""
    drawn = sorted(many)
    rows = await connection.fetch(
        _DRAW,
        {
            "shops": [shop for shop, _, _ in drawn],
            "series": [series for _, series, _ in drawn],
            "years": [year for _, _, year in drawn],
            "many": [many[key] for key in drawn],
        },
    )
    return {(row.shop_id, row.series, row.year): row.last for row in rows}


def _key(row: dict[str, Any]) -> _Series:
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
