"""The commands that need no running stack."""

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import jwt
import pytest
from typer.testing import CliRunner, Result

from messaging.signing import ALGORITHM, CUSTOMER_PURPOSE
from trolley.cli import COMMANDS, app, main
from trolley.runtime.home import Home

KEY = "a key of the test that is long enough for HS256"


def trolley(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def prepared(path: Path) -> Home:
    home = Home(path)
    home.prepare(smallest_free_mib=0)
    home.lock()
    home.unlock()
    return home


def test_every_command_tells_what_it_does() -> None:
    shown = trolley("--help").output

    assert trolley().output.startswith("Usage: trolley")
    for name, listed in COMMANDS.items():
        assert re.search(rf"^  {name} +\w", shown, re.MULTILINE), name
        assert listed.load().__doc__, name


def test_the_list_of_commands_imports_none() -> None:
    code = "import sys, trolley.cli; trolley.cli.app(['--help'], standalone_mode=False); "
    code += "sys.exit(any(name.startswith('trolley.commands.') for name in sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)

    assert done.returncode == 0, done.stderr


def test_an_unknown_command_is_refused() -> None:
    assert trolley("fly").exit_code == 2


def test_a_token_holds_who_it_is_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TROLLEY_SIGNING_KEY", KEY)

    done = trolley(
        *("token", "--home", home, "--sub", "12583", "--shop", "uk", "--hours", "2"),
        *("--role", "admin", "--role", "buyer"),
    )

    assert done.exit_code == 0, done.output
    claims = jwt.decode(done.output.strip(), KEY, algorithms=[ALGORITHM], audience=CUSTOMER_PURPOSE)
    assert (claims["sub"], claims["shop"], claims["roles"]) == ("12583", "uk", ["admin", "buyer"])
    assert claims["exp"] - claims["iat"] == 2 * 3600
    assert abs(claims["iat"] - datetime.now(UTC).timestamp()) < 60


def test_a_token_is_signed_with_the_key_of_the_state_directory(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TROLLEY_SIGNING_KEY", raising=False)
    assert trolley("token", "--home", home, "--sub", "1").exit_code == 1
    prepared(home).write_environment({"TROLLEY_SIGNING_KEY": KEY})

    done = trolley("token", "--home", home, "--sub", "1")

    assert jwt.decode(done.output.strip(), KEY, algorithms=[ALGORITHM], audience=CUSTOMER_PURPOSE)


def test_nothing_runs_here(home: Path) -> None:
    status, down = trolley("status", "--home", home), trolley("down", "--home", home)

    assert (status.exit_code, down.exit_code) == (3, 0)
    assert f"Nothing runs in {home}" in status.output
    assert f"Nothing runs in {home}" in down.output


def test_logs_name_their_process_and_end_with_the_newest(home: Path) -> None:
    logs = prepared(home).logs
    (logs / "cart-0.log").write_text("one\ntwo\nthree\nhalf a li")
    (logs / "cart-1.log").write_text("four\n")
    (logs / "kafka.log").write_text("five\n")

    both = trolley("logs", "--home", home, "cart", "-n", "2").output.splitlines()
    one = trolley("logs", "--home", home, "cart-1").output.splitlines()
    everything = trolley("logs", "--home", home).output.splitlines()

    assert both == ["cart-0 | two", "cart-0 | three", "cart-1 | four"]
    assert one == ["cart-1 | four"]
    assert len(everything) == 5


def test_a_log_that_is_not_there_names_those_that_are(home: Path) -> None:
    (prepared(home).logs / "kafka.log").write_text("five\n")

    done = trolley("logs", "--home", home, "kart")

    assert done.exit_code == 1
    assert "no log of kart" in done.output
    assert "kafka" in done.output


def test_reset_deletes_a_state_directory(home: Path) -> None:
    prepared(home)

    done = trolley("reset", "--home", home, "--yes")

    assert done.exit_code == 0, done.output
    assert not home.exists()
    assert trolley("reset", "--home", home, "--yes").exit_code == 0


def test_reset_deletes_nothing_else(home: Path) -> None:
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")

    done = trolley("reset", "--home", home, "--yes")

    assert done.exit_code == 1
    assert "no state directory of Trolley" in done.output
    assert (home / "thesis.tex").exists()


def test_what_runs_is_not_reset(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = prepared(home)
    place.lock()
    monkeypatch.setattr("sys.argv", ["trolley", "reset", "--home", str(home), "--yes"])

    with pytest.raises(SystemExit) as caught:
        main()

    place.unlock()
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith(f"trolley: Trolley already runs in {home}: ")
    assert home.exists()


def test_migrate_says_what_is_missing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CART_DATABASE_URL", raising=False)

    done = trolley("migrate", "--home", home, "cart")

    assert done.exit_code == 1
    assert "set CART_DATABASE_URL" in done.output
    assert trolley("migrate", "--home", home, "kart").exit_code == 2
