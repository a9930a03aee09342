"""A short run against real processes: faults strike, and every checkout is accounted for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MINUTES = "0.7"
SEED = "37"
"""Its first strike cuts a service off from Kafka."""


@pytest.mark.integration
def test_a_short_run_strikes_accounts_and_reports(tmp_path: Path) -> None:
    markdown, as_json = tmp_path / "chaos.md", tmp_path / "chaos.json"
    environment = {name: value for name, value in os.environ.items() if "TROLLEY_" not in name}

    done = subprocess.run(
        [
            *(sys.executable, "-m", "trolley", "chaos", "--minutes", MINUTES, "--seed", SEED),
            *("--report", str(markdown), "--json", str(as_json)),
        ],
        cwd=Path(__file__).parents[3],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(as_json.read_text())
    assert (found["held"], found["violations"]) == (True, 0)
    (cut_off,) = found["strikes"][0]["faults"]
    assert cut_off["kind"] == "drop-kafka-connections"
    assert cut_off["connections_ended"] > 0
    assert found["checkouts"]["accepted"] > 0
    assert sum(found["checkouts"]["outcomes"].values()) >= found["checkouts"]["accepted"]
    assert (found["checkouts"]["lost"], found["checkouts"]["doubled"]) == ([], [])
    assert found["audit"]["facts_checked"] > 0
    assert f"Everything held. Seed {SEED}" in markdown.read_text()
    assert "everything held." in done.stdout
