"""Documents over a real database: issued with the saga's own transaction, and kept as they are."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from messaging.database import sql
from order_service.documents.domain import CreditNote, Seller
from order_service.documents.store import list_documents, number_in, read_document
from order_service.exploration import CHECKOUT_ID, start
from tests.order_service.office import ORDER_ID, Office, of, some_checkouts, start_of
from tests.order_service.story import (
    cancel,
    cart_closed,
    committed,
    not_held,
    refund_failed,
    refunded,
    released,
    reserved,
    resolve,
    succeeded,
)

pytestmark = pytest.mark.integration

TO_PAID = (start(), reserved(), succeeded(), committed(), cart_closed())


async def documents(office: Office, order_id: UUID = ORDER_ID) -> Sequence[Any]:
    async with office.service.database.reading() as connection:
        return await list_documents(connection, order_id)


async def summary(office: Office) -> list[tuple[str, int, int, int]]:
    """Kind, attempt, refund and amount of all documents, in order of issue."""
    return [
        tuple(row)
        for row in await office.query(
            "SELECT kind, attempt, refund, gross_minor FROM documents"
            " ORDER BY issued_at, kind = 'credit_note', kind"
        )
    ]


async def numbers(office: Office, kind: str) -> list[int]:
    rows = await office.query(
        "SELECT sequence FROM documents WHERE kind = $1 ORDER BY sequence", kind
    )
    return [row[0] for row in rows]


class TestWhatAnOrderGets:
    async def test_one_that_is_paid_an_invoice_and_a_receipt(self, office: Office) -> None:
        await office.tell(*TO_PAID)
        assert await summary(office) == [("invoice", 1, 0, 2500), ("receipt", 1, 0, 2500)]
        invoice, receipt = await documents(office)
        assert number_in(invoice) == f"INV-{invoice.issued_at.year}-000001"
        assert number_in(receipt) == f"{receipt.number}-P1"

    async def test_one_that_is_refunded_a_credit_note_of_its_invoice(self, office: Office) -> None:
        await office.tell(*TO_PAID, cancel(), refunded())
        invoice, _, note = await documents(office)
        assert number_in(note) == f"CN-{note.issued_at.year}-000001"
        async with office.service.database.reading() as connection:
            issued = await read_document(connection, ORDER_ID, note.document_id)
        assert issued is not None
        assert isinstance(issued.document, CreditNote)
        assert issued.invoice_number == number_in(invoice)
        assert issued.document.gross_minor == 2500

    async def test_one_that_costs_nothing_an_invoice_of_nothing(self, office: Office) -> None:
        await office.tell(start(total_minor=0), reserved(), committed())
        assert await summary(office) == [("invoice", 0, 0, 0)]

    async def test_money_that_went_back_at_once_was_invoiced_and_credited(
        self, office: Office
    ) -> None:
        await office.tell(start(), reserved(), cancel(), succeeded(), refunded())
        assert await summary(office) == [
            ("invoice", 1, 0, 2500),
            ("receipt", 1, 0, 2500),
            ("credit_note", 1, 1, 2500),
        ]

    async def test_one_that_is_not_paid_nothing(self, office: Office) -> None:
        await office.tell(start(), reserved(), succeeded())
        assert await documents(office) == []

    async def test_paid_and_refunded_in_one_batch(self, office: Office) -> None:
        await office.tell(start(), reserved(), succeeded())
        await office.send(not_held(), refunded())
        assert [kind for kind, *_ in await summary(office)] == ["invoice", "receipt", "credit_note"]

    async def test_money_that_its_bank_sent_back_is_credited_once(self, office: Office) -> None:
        await office.tell(*TO_PAID, cancel(), refunded(), refund_failed())
        await office.tell(resolve("retry"), refunded(2), released())
        assert [row for row in await summary(office) if row[0] == "credit_note"] == [
            ("credit_note", 1, 1, 2500)
        ]

    async def test_the_same_messages_again_nothing_more(self, office: Office) -> None:
        await office.tell(*TO_PAID, cancel(), refunded())
        await office.tell(committed(), refunded())
        assert len(await documents(office)) == 3


class TestNumbers:
    async def test_of_a_batch_are_drawn_in_one_statement_with_only_the_documents_behind_it(
        self, office: Office
    ) -> None:
        many = some_checkouts(30)
        await office.send(*(start_of(one) for one in many))
        for message in (reserved(), succeeded()):
            await office.send(*(of(one, message) for one in many))
        office.statements.clear()
        await office.send(*(of(one, committed()) for one in many))
        drawing = [n for n, text in enumerate(office.statements) if "document_series" in text]
        assert drawing == [len(office.statements) - 2]
        assert office.statements[-1] == "COPY documents"
        assert "COPY outbox" in office.statements
        assert await numbers(office, "invoice") == list(range(1, 31))

    async def test_cost_no_statement_where_nothing_is_issued(self, office: Office) -> None:
        await office.tell(start(), reserved(), succeeded())
        await office.tell(cancel())
        assert not any("document" in text for text in office.statements)

    async def test_of_batches_at_once_have_no_gap_and_no_deadlock(self, office: Office) -> None:
        every = some_checkouts(48)
        refunds, payments = every[:24], every[24:]
        await office.send(*(start_of(one) for one in every))
        for answer in (reserved(), succeeded()):
            await office.send(*(of(one, answer) for one in every))
        for message in (committed(), cancel()):
            await office.send(*(of(one, message) for one in refunds))
        retried = office.retried_batches()
        await asyncio.gather(
            *(
                office.send(of(refund, refunded()), of(payment, committed()))
                if n % 2
                else office.send(of(payment, committed()), of(refund, refunded()))
                for n, (refund, payment) in enumerate(zip(refunds, payments, strict=True))
            )
        )
        assert office.retried_batches() == retried
        assert await numbers(office, "invoice") == list(range(1, 49))
        assert await numbers(office, "credit_note") == list(range(1, 25))

    async def test_a_batch_that_is_rolled_back_takes_none_along(self, office: Office) -> None:
        await office.tell(start(), reserved(), succeeded())

        async def issue_and_fail() -> None:
            async with office.service.database.transaction() as connection:
                await connection.execute(
                    sql("INSERT INTO document_series VALUES ('main', 'INV', 2026, 1)")
                )
                raise RuntimeError("no")

        with pytest.raises(RuntimeError, match="no"):
            await issue_and_fail()
        await office.tell(committed())
        assert await numbers(office, "invoice") == [1]

    async def test_are_of_a_shop_and_a_series_of_their_own(self, order_database: str) -> None:
        sellers = {"north": Seller(name="North", invoice_series="N-INV")}
        office = Office(order_database, sellers=sellers)
        try:
            await office.empty()
            for shop in ("main", "north"):
                (one,) = some_checkouts(1)
                for message in (start_of(one), reserved(), succeeded(), committed()):
                    await office.send(of(one, message).model_copy(update={"shop_id": shop}))
            rows = await office.query(
                "SELECT shop_id, series, sequence FROM documents WHERE kind = 'invoice'"
                " ORDER BY shop_id"
            )
            assert [tuple(row) for row in rows] == [("main", "INV", 1), ("north", "N-INV", 1)]
        finally:
            await office.close()


class TestAnIssuedDocument:
    @pytest.mark.parametrize(
        "statement", ["UPDATE documents SET gross_minor = 1", "DELETE FROM documents"]
    )
    async def test_is_never_changed(self, office: Office, statement: str) -> None:
        await office.tell(*TO_PAID)
        with pytest.raises(asyncpg.RestrictViolationError):
            await office.query(statement)

    @pytest.mark.parametrize(
        ("columns", "values"),
        [
            ("sequence", "NULL"),
            ("kind", "'receipt'"),
            ("kind", "'letter'"),
            ("refund", "1"),
            ("net_minor", "gross_minor + 1"),
            ("sequence", "0"),
        ],
    )
    async def test_cannot_be_of_another_form(
        self, office: Office, columns: str, values: str
    ) -> None:
        await office.tell(*TO_PAID)
        every = [
            row[0]
            for row in await office.query(
                "SELECT column_name FROM information_schema.columns"
                " WHERE table_name = 'documents' ORDER BY ordinal_position"
            )
        ]
        changed = {"document_id": "gen_random_uuid()", "sequence": "9", columns: values}
        copied = ", ".join(changed.get(name, name) for name in every)
        with pytest.raises(asyncpg.CheckViolationError):
            await office.query(
                f"INSERT INTO documents ({', '.join(every)})"  # noqa: S608 - examples above
                f" SELECT {copied} FROM documents WHERE kind = 'invoice'"
            )

    async def test_says_what_the_seller_was_called_then(self, office: Office) -> None:
        await office.tell(*TO_PAID)
        (invoice, _) = await documents(office)
        renamed = Office(office.database_url, sellers={"main": Seller(name="Another")})
        try:
            async with renamed.service.database.reading() as connection:
                issued = await read_document(connection, ORDER_ID, invoice.document_id)
            assert issued is not None
            assert issued.document.head.seller == Seller()
        finally:
            await renamed.close()

    async def test_is_of_its_own_order_alone(self, office: Office) -> None:
        await office.tell(*TO_PAID)
        (invoice, _) = await documents(office)
        async with office.service.database.reading() as connection:
            assert await read_document(connection, CHECKOUT_ID, invoice.document_id) is None
