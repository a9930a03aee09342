"""`trolley up`, and then nothing: how soon it is ready, and what it takes of the machine."""

import asyncio
import shutil
import sys
import time
from pathlib import Path

from bench.case import Case, Session
from bench.meter import Meter
from bench.processes import cpu_seconds_of, memory_mib_of
from bench.progress import WrongState
from bench.report import Figure, Goal, Turn
from bench.servers import made_home
from trolley.runtime.home import Home

SUPERVISOR = "supervisor"
QUIET_SECONDS = 5.0
"""Behind the start, before it counts as idle."""


async def _turn(session: Session) -> Turn:
    directory = made_home()
    home = directory / "home"
    try:
        await _trolley("up", "--detach", "--home", str(home))
        await _trolley("down", "--home", str(home))
        meter, began = Meter({}), time.perf_counter()
        await _trolley("up", "--detach", "--home", str(home))
        ready = time.perf_counter() - began
        try:
            figures = await _idle(home, session.settings.idle_seconds)
        finally:
            await _trolley("down", "--home", str(home))
    finally:
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
    return meter.turn([Figure("start to ready, warm", "s", ready), *figures])


async def _idle(home: Path, seconds: float) -> list[Figure]:
    state = Home(home).state()
    if state is None:
        raise WrongState("`trolley up` left nothing running")
    pids = {one.name.removesuffix("-0"): one.pid for one in state.processes if one.pid}
    await asyncio.sleep(QUIET_SECONDS)
    everything = {"all": state.pid}
    before, began = cpu_seconds_of({**everything, **pids}), time.perf_counter()
    await asyncio.sleep(seconds)
    after, spent = cpu_seconds_of({**everything, **pids}), time.perf_counter() - began
    memory = memory_mib_of({**everything, **pids})
    figures = [Figure("memory", "MiB", memory["all"])]
    figures += [Figure(f"memory: {name}", "MiB", memory[name]) for name in pids]
    share = {name: 100 * (after[name] - before[name]) / spent for name in after}
    figures.append(Figure("one processor, idle", "%", share["all"]))
    return figures + [Figure(f"one processor, idle: {name}", "%", share[name]) for name in pids]


async def _trolley(*words: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "trolley", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise WrongState(f"trolley {words[0]}: {said.decode(errors='replace')[-500:]}")


FOOTPRINT = Case(
    "footprint",
    "`trolley up` with all that it starts, without any work. Memory is proportional (`Pss`): what "
    "processes share is counted once.",
    _turn,
    goals=(
        Goal("memory", at_most=1_536),
        Goal("memory: kafka", at_most=350),
        Goal("one processor, idle", at_most=3),
        Goal("start to ready, warm", at_most=12),
    ),
)
