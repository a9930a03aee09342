"""Kafka's jars: fetched once from the Maven repository, checked against pinned sums, then cached.

    python -m trolley.runtime.jars COORDINATES CACHE FILE

writes the list of jars to FILE. It is a process of its own, so that an interrupted start need not
wait for a download to end.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import warnings
from pathlib import Path

from trolley.runtime.children import Children, tail
from trolley.runtime.errors import DownloadMissing
from trolley.runtime.home import python_environment

_SUMS = Path(__file__).with_name("jars.sha256")


async def class_path(
    children: Children,
    coordinates: str,
    *,
    cache: Path,
    remembered: Path,
    log: Path,
    seconds: float,
) -> str:
    """The Java class path of `coordinates`, kept in `cache`.

    It is `remembered` in a file, since looking it up takes 0.6 s of CPU. Raises DownloadMissing.
    """
    known = _recall(coordinates, remembered)
    if known is None:
        began = _size(log)
        module = ("-m", "trolley.runtime.jars")
        code = await children.run(
            "kafka-download",
            [sys.executable, *module, coordinates, str(cache), str(remembered)],
            environment=python_environment({}),
            directory=remembered.parent,
            log=log,
            seconds=seconds,
        )
        known = _recall(coordinates, remembered)
        if code != 0 or known is None:
            said = tail(log, since=began).strip().splitlines()
            raise DownloadMissing(coordinates, said[-1] if said else f"it took over {seconds:g} s")
    return ":".join(known)


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _recall(coordinates: str, remembered: Path) -> list[str] | None:
    with contextlib.suppress(OSError, ValueError, KeyError):
        value = json.loads(remembered.read_text())
        jars: list[str] = value["jars"]
        if value["coordinates"] == coordinates and all(map(os.path.exists, jars)):
            return jars
    return None


def _fetch(coordinates: str, cache: Path) -> list[str]:
    cache.mkdir(parents=True, exist_ok=True)
    # Two first starts at once must not write the same cache.
    with (cache / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            return verified(_build(coordinates, cache))
        except (OSError, ConnectionError):
            raise  # no network or no disk: what was cached stays
        except Exception:  # noqa: BLE001 - whatever a damaged cache makes jgo raise
            # An interrupted download leaves a shortened file, which jgo would take for whole.
            for part in ("maven", "environments"):
                shutil.rmtree(cache / part, ignore_errors=True)
            return verified(_build(coordinates, cache))


def _build(coordinates: str, cache: Path) -> list[str]:
    with warnings.catch_warnings():
        # jgo looks for a runtime directory that machines without a desktop do not have.
        warnings.simplefilter("ignore")
        import jgo

        # A repository of our own: another tool's may not be emptied when it is damaged.
        os.environ["M2_REPO"] = str(cache / "maven")
        built = jgo.build(coordinates, cache_dir=cache / "environments")
        return [str(jar) for jar in built.all_jars]


class WrongChecksum(Exception):
    """Jars whose content is not what was pinned."""


def verified(jars: list[str]) -> list[str]:
    """The same jars, each as it was pinned; versions that were chosen by setting are not judged."""
    pinned = _pinned()
    wrong = []
    for jar in map(Path, jars):
        wanted = pinned.get(jar.name)
        if wanted and hashlib.sha256(jar.read_bytes()).hexdigest() != wanted:
            wrong.append(jar.name)
    if wrong:
        raise WrongChecksum(", ".join(wrong))
    return jars


def _pinned() -> dict[str, str]:
    lines = (line.split() for line in _SUMS.read_text().splitlines() if line)
    return {name: digest for digest, name in lines}


def main(coordinates: str, cache: Path, remembered: Path) -> None:
    """Writes the list of jars, or exits with one line that says what failed."""
    try:
        jars = _fetch(coordinates, cache)
    except Exception as error:  # noqa: BLE001 - jgo and what it stands on raise many kinds
        sys.exit(_reason(error))
    fresh = remembered.with_name(f"{remembered.name}.new")
    fresh.write_text(json.dumps({"coordinates": coordinates, "jars": jars}))
    fresh.replace(remembered)


def _reason(error: BaseException) -> str:
    if isinstance(error, WrongChecksum):
        return f"what came has the wrong checksum: {error}"
    text = str(error)
    for sign, meaning in (
        ("NameResolution", "the name of the repository was not found"),
        ("Name or service not known", "the name of the repository was not found"),
        ("Connection refused", "the connection was refused"),
        ("Network is unreachable", "the network is unreachable"),
        ("timed out", "it timed out"),
        ("No space left", "the disk of its cache is full: set TROLLEY_CACHE_DIR"),
        ("Permission denied", "its cache directory cannot be written: set TROLLEY_CACHE_DIR"),
    ):
        if sign in text:
            return meaning
    return f"{type(error).__name__}: {text[:200]}"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
