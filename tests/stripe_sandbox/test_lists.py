"""Pages of lists, what may be expanded, and search that lags behind."""

from typing import Any

import pytest
import stripe

from tests.stripe_sandbox.conftest import Sandbox


@pytest.fixture
async def customers(client: stripe.StripeClient) -> list[str]:
    """Ids of seven customers, the newest first."""
    made = [
        await client.v1.customers.create_async({"name": f"Ada {number}"}) for number in range(7)
    ]
    return [one.id for one in reversed(made)]


async def page(client: stripe.StripeClient, **params: Any) -> tuple[list[str], bool]:
    """The ids of a page of customers, and whether there are more."""
    wanted: Any = params
    found = await client.v1.customers.list_async(wanted)
    assert found.url == "/v1/customers"
    return [one.id for one in found.data], found.has_more


async def test_pages_go_forwards_and_backwards(
    client: stripe.StripeClient, customers: list[str]
) -> None:
    assert await page(client, limit=3) == (customers[:3], True)
    assert await page(client, limit=3, starting_after=customers[2]) == (customers[3:6], True)
    assert await page(client, limit=3, starting_after=customers[5]) == (customers[6:], False)
    assert await page(client, starting_after=customers[6]) == ([], False)
    assert await page(client, limit=3, ending_before=customers[6]) == (customers[3:6], True)
    assert await page(client, limit=3, ending_before=customers[3]) == (customers[:3], False)
    assert await page(client, ending_before=customers[0]) == ([], False)
    assert await page(client) == (customers, False)


async def test_all_pages_have_everything_once(
    client: stripe.StripeClient, customers: list[str]
) -> None:
    pages = await client.v1.customers.list_async({"limit": 2})
    assert [one.id async for one in pages.auto_paging_iter()] == customers


async def test_what_comes_meanwhile_moves_no_page(
    client: stripe.StripeClient, customers: list[str]
) -> None:
    await page(client, limit=3)
    await client.v1.customers.create_async({})
    assert await page(client, limit=3, starting_after=customers[2]) == (customers[3:6], True)


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"starting_after": "cus_none"}, "starting_after"),
        ({"ending_before": "cus_none"}, "ending_before"),
        ({"created": {"since": 5}}, "created[since]"),
        ({"created": {"gt": "x"}}, "created[gt]"),
        ({"name": "Ada"}, "name"),
    ],
)
async def test_a_list_that_cannot_be_is_refused(
    client: stripe.StripeClient, customers: list[str], params: dict[str, Any], param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await page(client, **params)
    assert (caught.value.http_status, caught.value.param) == (400, param)


async def test_a_list_goes_one_way(client: stripe.StripeClient, customers: list[str]) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        await page(client, starting_after=customers[2], ending_before=customers[1])


async def test_a_cursor_is_an_object_of_the_list(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent = await sandbox.paid()
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await page(client, starting_after=intent.id)
    assert caught.value.code == "resource_missing"


async def test_a_list_is_of_a_time(sandbox: Sandbox, client: stripe.StripeClient) -> None:
    made = []
    for _ in range(3):
        made.append(await client.v1.customers.create_async({}))
        await sandbox.forward(100)
    oldest, middle, newest = made
    at = middle.created
    assert await page(client, created=at) == ([middle.id], False)
    assert await page(client, created={"gt": at}) == ([newest.id], False)
    assert await page(client, created={"gte": at}) == ([newest.id, middle.id], False)
    assert await page(client, created={"lt": at}) == ([oldest.id], False)
    assert await page(client, created={"lte": at, "gt": oldest.created}) == ([middle.id], False)
    assert await page(client, created={"gt": 10**17}) == ([], False)


async def test_lists_are_of_one_owner(sandbox: Sandbox, client: stripe.StripeClient) -> None:
    ada = await client.v1.customers.create_async({})
    mine = await sandbox.paid(customer=ada.id)
    other = await sandbox.paid()
    intents = await client.v1.payment_intents.list_async({"customer": ada.id})
    assert [one.id for one in intents.data] == [mine.id]
    charges = await client.v1.charges.list_async({"payment_intent": other.id})
    assert [one.id for one in charges.data] == [other.latest_charge]
    refund = await client.v1.refunds.create_async({"payment_intent": mine.id})
    for params in ({"charge": str(mine.latest_charge)}, {"payment_intent": mine.id}):
        refunds = await client.v1.refunds.list_async(params)  # type: ignore[arg-type]  # either
        assert [one.id for one in refunds.data] == [refund.id]
    assert (await client.v1.refunds.list_async({"charge": str(other.latest_charge)})).data == []


async def test_events_are_listed_by_type_for_thirty_days(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    await sandbox.paid(capture_method="automatic")

    async def types(**params: Any) -> set[str]:
        wanted: Any = params
        return {one.type for one in (await client.v1.events.list_async(wanted)).data}

    assert await types(type="charge.*") == {"charge.succeeded"}
    assert await types(types=["payment_intent.created", "charge.succeeded"]) == {
        "payment_intent.created",
        "charge.succeeded",
    }
    assert await types(type="charge.?ucceeded") == set()
    await sandbox.forward(29 * 24 * 3600)
    assert "charge.succeeded" in await types()
    await sandbox.forward(24 * 3600)
    assert await types(type="charge.succeeded") == set()
    await sandbox.paid(confirm=False)
    await sandbox.paid(confirm=False)
    with sandbox.running.database.transaction() as transaction:
        [kept] = transaction.sql("SELECT count(*) FROM objects WHERE object = 'event'").fetchone()
    assert kept == 2, "what is not listed is forgotten"


async def test_what_is_expanded_stands_in_place_of_its_id(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    ada = await client.v1.customers.create_async({})
    intent = await sandbox.paid(customer=ada.id, capture_method="automatic")
    await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 5})
    found = await client.v1.payment_intents.retrieve_async(
        intent.id,
        {
            "expand": [
                "customer",
                "payment_method",
                "latest_charge.balance_transaction.source",
                "latest_charge.refunds.data.balance_transaction",
                "last_payment_error.payment_method",
            ]
        },
    )
    charge = found.latest_charge
    assert isinstance(charge, stripe.Charge)
    assert isinstance(charge.balance_transaction, stripe.BalanceTransaction)
    assert isinstance(charge.balance_transaction.source, stripe.Charge)
    assert charge.refunds is not None
    assert isinstance(charge.refunds.data[0].balance_transaction, stripe.BalanceTransaction)
    assert isinstance(found.customer, stripe.Customer)
    listed = await client.v1.payment_intents.list_async({"expand": ["data.latest_charge"]})
    assert isinstance(listed.data[0].latest_charge, stripe.Charge)
    plain = await client.v1.payment_intents.retrieve_async(intent.id)
    assert plain.latest_charge == charge.id


async def test_an_answer_of_a_change_is_expanded_too(sandbox: Sandbox) -> None:
    intent = await sandbox.paid(expand=["latest_charge"])
    assert isinstance(intent.latest_charge, stripe.Charge)


@pytest.mark.parametrize(
    "path",
    [
        "status",
        "id",
        "metadata",
        "metadata.order",
        "nothing",
        "client_secret",
        "canceled_at",
        "latest_charge.nothing",
        "latest_charge.payment_method",
        "latest_charge.payment_intent.latest_charge.payment_intent.latest_charge",
        "data.latest_charge",
        "",
        "..",
    ],
)
async def test_what_cannot_be_expanded_is_refused_and_changes_nothing(
    sandbox: Sandbox, client: stripe.StripeClient, path: str
) -> None:
    intent = await sandbox.paid()
    await client.v1.payment_intents.update_async(intent.id, {"metadata": {"order": intent.id}})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.payment_intents.retrieve_async(intent.id, {"expand": [path]})
    assert str(caught.value.param).startswith("expand")
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.refunds.create_async({"payment_intent": intent.id, "expand": [path]})
    assert (await client.v1.refunds.list_async()).data == []


async def found(client: stripe.StripeClient, query: str, **params: Any) -> list[str]:
    """The ids of the intents that a query finds."""
    wanted: Any = {"query": query, **params}
    result = await client.v1.payment_intents.search_async(wanted)
    return [one.id for one in result.data]


async def test_search_lags_behind(sandbox: Sandbox, client: stripe.StripeClient) -> None:
    intent = await sandbox.paid(metadata={"order": "a&b+c"})
    query = 'metadata["order"]:"a&b+c"'
    assert await found(client, query) == []
    await sandbox.forward(3)
    assert await found(client, query) == [intent.id]
    await client.v1.payment_intents.update_async(intent.id, {"metadata": {"order": "9"}})
    assert await found(client, query) == [intent.id]
    await sandbox.forward(3)
    assert await found(client, query) == []


async def test_the_language_of_search(sandbox: Sandbox, client: stripe.StripeClient) -> None:
    small = (await sandbox.paid(metadata={"order": 'say "hi"'})).id
    large = (await sandbox.paid(amount=9000, currency="eur", metadata={"shop": "x"})).id
    waiting = (await sandbox.paid(confirm=False)).id
    await sandbox.forward(3)
    for query, ids in {
        "amount>2000": [large],
        "amount>=2000": [waiting, large, small],
        "amount<9000": [waiting, small],
        "amount:9000": [large],
        "-amount:9000": [waiting, small],
        "currency:'EUR'": [large],
        'status:"succeeded" AND currency:"usd"': [small],
        'status:"succeeded" currency:"usd"': [small],
        'currency:"eur" OR status:"requires_confirmation"': [waiting, large],
        'status~"succ"': [large, small],
        '-metadata["order"]:null': [small],
        'metadata["order"]:null': [waiting, large],
        r'metadata["order"]:"say \"hi\""': [small],
        "created>0 AND created<10": [],
    }.items():
        assert await found(client, query) == ids, query
    assert await found(client, "amount>0", limit=2) == [waiting, large]
    result = await client.v1.payment_intents.search_async({"query": "amount>0", "limit": 2})
    assert [one.id async for one in result.auto_paging_iter()] == [waiting, large, small]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "   ",
        "amount",
        "amount>",
        "amount:many",
        'amount:"5"',
        "amount~500",
        "status:succeeded",
        'status>"a"',
        'status~"su"',
        'secret:"x"',
        'metadata:"x"',
        'status["x"]:"y"',
        'status:"a" AND amount>1 OR amount>2',
        '(status:"a")',
        " AND ".join(["amount>1"] * 11),
        'status:"a',
        "amount>99999999999999999999",
    ],
)
async def test_a_query_that_means_nothing_is_refused(
    client: stripe.StripeClient, query: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await found(client, query)
    assert (caught.value.http_status, caught.value.param) == (400, "query")


@pytest.mark.parametrize("mark", ["x", "-1", "é", "LTU=", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk="])
async def test_a_page_of_search_is_one_that_was_told(
    client: stripe.StripeClient, mark: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await found(client, "amount>0", page=mark)
    assert caught.value.param == "page"


async def test_customers_and_charges_are_searched_too(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    ada = await client.v1.customers.create_async({"email": "ada@shop.test"})
    intent = await sandbox.paid(customer=ada.id)
    await sandbox.forward(3)
    customers = await client.v1.customers.search_async({"query": 'email~"@SHOP"'})
    assert [one.id for one in customers.data] == [ada.id]
    charges = await client.v1.charges.search_async(
        {"query": f'customer:"{ada.id}" AND refunded:"false"'}
    )
    assert [one.id for one in charges.data] == [intent.latest_charge]
    await client.v1.customers.delete_async(ada.id)
    assert (await client.v1.customers.search_async({"query": 'email~"@shop"'})).data == []
