"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from trolley.runtime.home import default_home

HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        default_factory=default_home,
        show_default=".trolley",
        help="The state directory.",
    ),
]
