"""What the command says and does before anything is started."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from payment_service.settings import PaymentSettings
from trolley.cli import app
from trolley.demo.command import clear, environment_at_stand_in
from trolley.runtime.errors import AlreadyRunning, DirectoryUnwritable
from trolley.runtime.home import Home
from trolley.services import SANDBOX_KEY

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b\n1,2\n", "the header has no InvoiceNo"),
        (HEADER.encode(), "no line of it is a sale"),
        (HEADER.encode() + b"1,A,X,many,12/1/10 8:26,1,,\n", "line 2: 'many' is no Quantity"),
        (b"\x00\xff", "the header has no InvoiceNo"),
    ],
)
def test_a_file_that_cannot_be_sold_is_refused_in_one_sentence(
    tmp_path: Path, content: bytes, said: str
) -> None:
    orders = tmp_path / "orders.csv"
    orders.write_bytes(content)
    home = tmp_path / "home"

    result = CliRunner().invoke(app, ["demo", "--orders", str(orders), "--home", str(home)])

    assert result.exit_code == 1
    assert said in result.output
    assert len(result.output.splitlines()) == 1
    assert not home.exists()


def test_the_demo_takes_no_key_of_the_shell_to_stripe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TROLLEY_SIGNING_KEY", "k" * 32)
    monkeypatch.setenv("PAYMENT_STRIPE_API_KEY", "sk_live_of_somebody")
    monkeypatch.setenv("PAYMENT_PRODUCTION", "true")

    for name, value in environment_at_stand_in().items():
        monkeypatch.setenv(name, value)

    settings = PaymentSettings()
    assert settings.stripe_api_key is not None
    assert settings.stripe_api_key.get_secret_value() == SANDBOX_KEY
    assert not settings.production


def started(path: Path) -> Home:
    home = Home(path)
    home.prepare(smallest_free_mib=0)
    home.lock()
    (path / "postgres").mkdir()
    return home


def test_what_an_earlier_demo_left_is_removed(tmp_path: Path) -> None:
    started(tmp_path / "demo").unlock()

    clear(Home(tmp_path / "demo"))

    assert not (tmp_path / "demo").exists()


def test_a_demo_that_still_runs_is_left_alone(tmp_path: Path) -> None:
    running = started(tmp_path / "demo")

    with pytest.raises(AlreadyRunning):
        clear(Home(tmp_path / "demo"))

    assert (tmp_path / "demo" / "postgres").exists()
    running.unlock()


def test_what_is_not_ours_is_never_removed(tmp_path: Path) -> None:
    precious = tmp_path / "photos"
    precious.mkdir()
    (precious / "wedding.jpg").write_text("cake")

    for _ in range(2):
        with pytest.raises(DirectoryUnwritable):
            clear(Home(precious))

    assert [one.name for one in precious.iterdir()] == ["wedding.jpg"]


def test_an_empty_or_missing_directory_is_fresh_already(tmp_path: Path) -> None:
    clear(Home(tmp_path / "missing"))
    clear(Home(tmp_path))

    assert tmp_path.exists()
