"""The routes of documents: who may see them, and in which form."""

import asyncio
import threading
from typing import Any

import httpx
import pytest

from contracts.ids import new_id
from messaging.http.problems import TYPE_BASE
from messaging.http.tokens import hash_token
from order_service.documents.api import HTML, JSON, PDF, preferred
from order_service.exploration import start
from tests.order_service.office import ORDER_ID, Office
from tests.order_service.story import cancel, cart_closed, committed, refunded, reserved, succeeded

DOCUMENTS = f"/orders/{ORDER_ID}/documents"
TOKEN = "a-cart-token"
PATIENCE_SECONDS = 60
REST = (reserved(), succeeded(), committed(), cart_closed())


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/pdf", PDF),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML),
        ("application/*", JSON),
        ("application/json;q=0.1, application/pdf; q=0.5", PDF),
        ("application/json;q=0, */*", HTML),
        ("Text/HTML", HTML),
        ("image/png", None),
        ("application/pdf;q=0", None),
        ("application/pdf;q=much", None),
    ],
)
def test_the_accept_header_chooses(accept: str | None, answered: str | None) -> None:
    assert preferred(accept) == answered


def slug(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["type"].removeprefix(TYPE_BASE)


async def listed(office: Office, headers: dict[str, str] | None = None) -> list[Any]:
    response = await office.get(DOCUMENTS, headers)
    assert response.status_code == 200
    items: list[Any] = response.json()["items"]
    return items


async def shown(office: Office, which: int, accept: str) -> httpx.Response:
    """One of Ada's documents, in a form."""
    document_id = (await listed(office))[which]["document_id"]
    headers = {**office.customer(), "Accept": accept}
    return await office.get(f"{DOCUMENTS}/{document_id}", headers)


@pytest.mark.integration
class TestDocuments:
    async def test_are_listed_with_their_numbers(self, office: Office) -> None:
        await office.tell(start(), *REST, cancel(), refunded())
        items = await listed(office)
        assert [(item["kind"], item["currency"], item["gross_minor"]) for item in items] == [
            ("invoice", "GBP", 2500),
            ("receipt", "GBP", 2500),
            ("credit_note", "GBP", 2500),
        ]
        assert items[0]["number"].startswith("INV-")
        assert items[2]["number"].startswith("CN-")
        assert set(items[0]) == {
            "document_id", "kind", "number", "issued_at", "currency", "gross_minor"
        }  # fmt: skip

    async def test_are_given_as_json(self, office: Office) -> None:
        await office.tell(start(), *REST, cancel(), refunded())
        body = (await shown(office, 2, JSON)).json()
        assert body["invoice_number"].startswith("INV-")
        assert (body["net_minor"], body["tax_minor"], body["gross_minor"]) == (2500, 0, 2500)
        (line,) = body["content"]["lines"]
        assert (line["code"], line["quantity"], line["gross_minor"]) == ("TEAPOT", 1, 2500)
        assert body["content"]["head"]["buyer"]["email"] == "ada@example.org"

    async def test_are_given_as_a_page_that_runs_nothing(self, office: Office) -> None:
        await office.tell(start(), *REST)
        response = await shown(office, 0, HTML)
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "25.00 GBP" in response.text

    async def test_are_given_as_pdf_under_their_number(self, office: Office) -> None:
        await office.tell(start(), *REST)
        number = (await listed(office))[0]["number"]
        response = await shown(office, 0, PDF)
        assert response.headers["content-type"] == PDF
        assert f'"{number}.pdf"' in response.headers["content-disposition"]
        assert response.content.startswith(b"%PDF-")
        assert (await shown(office, 0, PDF)).content == response.content

    async def test_are_given_to_all_who_ask_at_once(self, office: Office) -> None:
        await office.tell(start(), *REST)
        answers = await asyncio.gather(*(shown(office, which, PDF) for which in (0, 1, 0)))
        assert [answer.status_code for answer in answers] == [200, 200, 200]

    async def test_in_the_making_hold_up_no_other_request(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await office.tell(start(), *REST)
        others_were_answered = threading.Event()

        def render(*_: object) -> bytes:
            assert others_were_answered.wait(PATIENCE_SECONDS)
            return b"%PDF-"

        monkeypatch.setattr("order_service.documents.api.render_pdf", render)
        making = asyncio.create_task(shown(office, 0, PDF))
        for _ in range(5):
            await listed(office)
        assert not making.done()
        others_were_answered.set()
        assert (await making).content == b"%PDF-"

    async def test_are_not_given_in_what_we_do_not_have(self, office: Office) -> None:
        await office.tell(start(), *REST)
        response = await shown(office, 0, "image/png")
        assert slug(response) == (406, "not-acceptable")
        assert response.json()["offered"] == [JSON, HTML, PDF]

    async def test_answer_to_the_customer_and_to_operators_of_the_shop_alone(
        self, office: Office
    ) -> None:
        await office.tell(start(), *REST)
        document_id = (await listed(office))[0]["document_id"]
        assert await listed(office, office.customer("olga", "operator"))
        for headers in (
            office.customer("eve"),
            office.customer("olga", "operator", shop="north"),
            {"Cart-Token": "a-guess"},
            {},
        ):
            for path in (DOCUMENTS, f"{DOCUMENTS}/{document_id}"):
                assert slug(await office.get(path, headers)) == (404, "order-not-found")

    async def test_of_a_guest_answer_to_the_guests_token(self, office: Office) -> None:
        guest = {"customer_id": None, "guest_token_hash": hash_token(TOKEN)}
        await office.tell(start().model_copy(update=guest), *REST)
        assert len(await listed(office, {"Cart-Token": TOKEN})) == 2

    async def test_that_the_order_does_not_have_are_not_found(self, office: Office) -> None:
        await office.tell(start(), *REST)
        response = await office.get(f"{DOCUMENTS}/{new_id()}")
        assert slug(response) == (404, "document-not-found")
