"""A supervisor to be killed: `python supervisor.py HOME [--servers]` prints its children and waits.

Without `--servers` its children are plain processes: one polite in each phase, and one that ignores
SIGTERM. With it, they are the embedded servers and two replicas of the fake service.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path

from trolley.runtime.children import Children
from trolley.runtime.guardian import Rung

POLITE_LADDER = (Rung(signal.SIGTERM, 30), Rung(signal.SIGKILL, 5))
STUBBORN_LADDER = (Rung(signal.SIGTERM, 0.5), Rung(signal.SIGKILL, 5))
POLITE = 'trap "echo $0 >>ended; exit" TERM; echo up >>$0.up; while :; do sleep 0.05; done'
STUBBORN = 'trap "" TERM; echo up >>$0.up; while :; do sleep 0.05; done'


def plain(home: Path) -> None:
    children = Children(home)
    pids = {}
    for name, phase, script, ladder in (
        ("server", 1, POLITE, POLITE_LADDER),
        ("service", 0, POLITE, POLITE_LADDER),
        ("stubborn", 0, STUBBORN, STUBBORN_LADDER),
    ):
        child = children.spawn(
            name,
            ["/bin/sh", "-c", script, name],
            environment={"PATH": "/usr/bin:/bin"},
            directory=home,
            log=home / "children.log",
            phase=phase,
            ladder=ladder,
        )
        pids[name] = child.pid
    guardian = children.guardian_pid
    print(json.dumps({"guardian": guardian, **pids}), flush=True)
    signal.pause()


async def servers(home: Path) -> None:
    # Here, since the plain supervisor is up in no time without them.
    from trolley.runtime.stack import Runtime
    from trolley.services import Database, Service

    database = Database("fake", "FAKE_DATABASE_URL", migrations=None)
    fake = Service("fake", "fake_service", "FAKE_", (database,))
    here = str(Path(__file__).parent)
    async with Runtime(
        home, replicas=2, services=(fake,), environment={"PYTHONPATH": here}
    ) as running:
        pids = {process.name: process.pid for process in running.processes()}
        print(json.dumps(pids), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    if "--servers" in sys.argv:
        asyncio.run(servers(Path(sys.argv[1])))
    else:
        plain(Path(sys.argv[1]))
