"""The user's own editor, on a text."""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

DEFAULT = "vi"


class EditorFailed(Exception):
    """The editor could not be started, or said that it failed."""


def edited(text: str, suffix: str) -> str | None:
    """What the user makes of a text in `$VISUAL`, `$EDITOR` or vi; None if it stays as it is.

    Raises `EditorFailed`.
    """
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or DEFAULT
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / f"value{suffix}"
        file.write_text(text)
        try:
            subprocess.run([*shlex.split(command), str(file)], check=True)  # noqa: S603 - the user's own
        except (OSError, subprocess.CalledProcessError) as error:
            raise EditorFailed(f"The editor {command} failed: {error}.") from error
        written = file.read_text()
    return None if written == text else written
