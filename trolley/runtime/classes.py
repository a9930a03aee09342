"""Kafka's classes, read and linked once per machine: Java's class data sharing.

Half of the processor time of a start goes into loading some 8,000 classes, and the Java runtime
of the wheel has not even its own classes archived. A running Kafka lists what it has loaded; from
that list the Java runtime makes an archive, which every later start maps into memory. Java itself
leaves an archive alone that does not fit its version or the jars.
"""

import fcntl
import hashlib
from pathlib import Path

from trolley.runtime.children import Children

LIST = "classes.list"
"""Where a running Kafka writes what it has loaded, in its working directory."""

_DUMP_SECONDS = 300
"""Eight seconds of processor time at the lowest priority: others may keep it waiting."""


def archive_of(java: Path, class_path: str, cache: Path) -> Path:
    """Where the archive for this runtime and these jars is, if there is one."""
    release = java.parent.parent / "release"
    version = release.read_bytes() if release.exists() else b""
    digest = hashlib.sha256(version + f"{java}\n{class_path}".encode()).hexdigest()
    return cache / f"kafka-{digest[:16]}.jsa"


async def make_archive(
    children: Children,
    archive: Path,
    *,
    java: Path,
    class_path: str,
    options: list[str],
    directory: Path,
    log: Path,
) -> bool:
    """Makes the archive from the list of the Kafka that runs in `directory`; whether it is there.

    One process at a time makes it, and nobody waits for another. Failing costs nothing: Kafka
    starts without it, as it did before.
    """
    listed = directory / f"{LIST}.whole"
    fresh = archive.with_suffix(".new")
    with archive.with_suffix(".lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The last line may be half written.
            whole = (directory / LIST).read_text().rpartition("\n")[0]
            listed.write_text(f"{whole}\n")
        except OSError:
            return False
        code = await children.run(
            "kafka-classes",
            [
                "nice",
                "-n19",
                str(java),
                "-Xshare:dump",
                f"-XX:SharedClassListFile={listed.name}",
                f"-XX:SharedArchiveFile={fresh}",
                "-Xlog:all=off",
                *options,
                "-cp",
                class_path,
            ],
            environment={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
            directory=directory,
            log=log,
            seconds=_DUMP_SECONDS,
        )
        if code != 0 or not fresh.exists():
            fresh.unlink(missing_ok=True)
            return False
        fresh.replace(archive)
        return True
