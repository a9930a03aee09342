"""What the command refuses before anything is started."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from trolley.chaos.command import chaos
from trolley.chaos.errors import HomeNotEmpty, NotOurServers
from trolley.cli import app


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--minutes", "0"], "should be greater than or equal to 0.1"),
        (["--minutes", "soon"], "should be a valid number"),
        (["--seed", "-1"], "should be greater than or equal to 0"),
        (["--report", "."], "is a directory"),
        (["--json", "/dev/null/chaos.json"], "cannot be written"),
    ],
)
def test_bad_arguments_are_told(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["chaos", *arguments])

    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_servers_of_somebody_else_are_not_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.example:9092")

    with pytest.raises(NotOurServers, match="KAFKA_BOOTSTRAP_SERVERS names others"):
        chaos()


def test_a_directory_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "wedding.jpg").write_text("cake")

    with pytest.raises(HomeNotEmpty, match="is not an empty directory"):
        chaos(home=tmp_path)

    assert [one.name for one in tmp_path.iterdir()] == ["wedding.jpg"]
