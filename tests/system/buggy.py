"""A service with a bug in this release: run in the place of the real one.

    python -m tests.system.buggy_inventory
    python -m tests.system.buggy_payment

The bug is there while the file that `TEST_BUG_FILE` names is: inventory cannot reserve the SKU
that it holds, payment cannot charge the amount. It is looked for once, when the service starts.
"""

import os
from pathlib import Path

BUG_FILE = "TEST_BUG_FILE"


class Bug(Exception):
    """What this release cannot do."""


def bug() -> str | None:
    """What the bug is about; None in a release without it."""
    file = Path(os.environ[BUG_FILE])
    return file.read_text() if file.exists() else None
