"""The routes of documents: those of an order, and each as JSON, HTML or PDF.

They answer to who may see the order. A document never changes, so it is rendered when asked for.
"""

import asyncio
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request
from starlette.responses import Response
from typing_extensions import TypedDict

from messaging.http.commands import CommandRoute, ReadConnection
from messaging.http.problems import Problem
from messaging.http.rendering import JsonResponse
from order_service.api.routes import Asking, found_order
from order_service.documents.domain import Kind
from order_service.documents.html import CONTENT_SECURITY_POLICY, render_html
from order_service.documents.page import page_of
from order_service.documents.pdf import render_pdf
from order_service.documents.store import (
    Issued,
    content_of,
    list_documents,
    number_in,
    read_document,
)

JSON, HTML, PDF = "application/json", "text/html", "application/pdf"
OFFERED = (JSON, HTML, PDF)
"""The first is given to who takes anything."""

LONGEST_ACCEPT = 1024
"""Characters; browsers send some 150."""

router = APIRouter(route_class=CommandRoute, tags=["documents"])


class DocumentSummaryView(TypedDict):
    """A document in a list; `number` is what people call it."""

    document_id: UUID
    kind: Kind
    number: str
    issued_at: datetime
    currency: str
    gross_minor: int


class DocumentList(TypedDict):
    """The documents of an order, the oldest first."""

    items: list[DocumentSummaryView]


class DocumentView(DocumentSummaryView):
    """A document: its sums, and all that it says in `content`.

    `invoice_number` is that of the invoice which a receipt or a credit note belongs to.
    """

    invoice_number: str | None
    net_minor: int
    tax_minor: int
    content: Any


class Press:
    """Makes PDFs beside the event loop, few at a time: each is a processor's work."""

    def __init__(self, at_once: int) -> None:
        self._turns = asyncio.Semaphore(at_once)

    async def pdf(self, issued: Issued) -> bytes:
        """The PDF of a document."""
        async with self._turns:
            page, issued_at = page_of(issued), issued.document.head.issued_at
            return await asyncio.to_thread(render_pdf, page, issued_at)


async def the_press(request: Request) -> Press:
    """The press of this process."""
    press = request.app.state.press
    assert isinstance(press, Press)  # noqa: S101 - set by the service
    return press


def document_not_found() -> Problem:
    """404: the order has no such document."""
    return Problem(404, "document-not-found", "There is no such document of this order")


def not_acceptable() -> Problem:
    """406: a document is not given in what the request takes."""
    return Problem(
        406, "not-acceptable", "Documents are not given in this media type", offered=list(OFFERED)
    )


def preferred(accept: str | None) -> str | None:
    """The media type to answer in (RFC 9110, section 12.5.1); None when it takes none of ours.

    The most specific range that names a type gives its weight; of equal weights the first offered.
    """
    if accept is None or not accept.strip():
        return OFFERED[0]
    weights: dict[str, float] = {}
    for part in accept.split(","):
        media_range, *parameters = (each.strip().lower() for each in part.split(";"))
        weights[media_range] = _weight(parameters)
    found = {
        offered: next(
            (
                weights[named]
                for named in (offered, offered.partition("/")[0] + "/*", "*/*")
                if named in weights
            ),
            0.0,
        )
        for offered in OFFERED
    }
    best = max(OFFERED, key=lambda offered: found[offered])
    return best if found[best] > 0 else None


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0


@router.get("/orders/{order_id}/documents", response_model=DocumentList)
async def list_order_documents(
    order_id: UUID, asking: Asking, connection: ReadConnection
) -> JsonResponse:
    """The invoices, receipts and credit notes of an order."""
    await found_order(connection, order_id, asking)
    items = [
        DocumentSummaryView(
            document_id=row.document_id,
            kind=row.kind,
            number=number_in(row),
            issued_at=row.issued_at,
            currency=row.currency,
            gross_minor=row.gross_minor,
        )
        for row in await list_documents(connection, order_id)
    ]
    return JsonResponse(DocumentList(items=items))


@router.get(
    "/orders/{order_id}/documents/{document_id}",
    response_model=DocumentView,
    responses={200: {"content": {HTML: {}, PDF: {}}}, 406: {}},
)
async def show_document(
    order_id: UUID,
    document_id: UUID,
    asking: Asking,
    request: Request,
    press: Annotated[Press, Depends(the_press)],
    accept: Annotated[str | None, Header(max_length=LONGEST_ACCEPT)] = None,
) -> Response:
    """A document as JSON, as a page for people, or as a PDF, by the Accept header."""
    # No connection is kept while a document is rendered.
    async with request.app.state.api_database.reading() as connection:
        await found_order(connection, order_id, asking)
        issued = await read_document(connection, order_id, document_id)
    if issued is None:
        raise document_not_found()
    headers = {"Cache-Control": "private, no-cache", "Vary": "Accept"}
    match preferred(accept):
        case "application/json":
            return JsonResponse(_view(issued), headers=headers)
        case "text/html":
            headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
            return Response(render_html(page_of(issued)), headers=headers, media_type=HTML)
        case "application/pdf":
            headers["Content-Disposition"] = f'inline; filename="{issued.number}.pdf"'
            return Response(await press.pdf(issued), headers=headers, media_type=PDF)
        case _:
            raise not_acceptable()


def _view(issued: Issued) -> DocumentView:
    document = issued.document
    return DocumentView(
        document_id=document.id,
        kind=document.kind,
        number=issued.number,
        issued_at=document.head.issued_at,
        currency=document.head.currency,
        gross_minor=document.gross_minor,
        invoice_number=issued.invoice_number,
        net_minor=document.net_minor,
        tax_minor=document.gross_minor - document.net_minor,
        content=content_of(document),
    )
