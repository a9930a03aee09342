"""Make the page and the pictures of a report anew, such as those of the documentation.

    python -m bench.publish docs/benchmarks/report.json docs/benchmarks.md

The pictures are put beside the report.
"""

import sys
from os.path import relpath
from pathlib import Path

from bench.markdown import markdown
from bench.plots import draw
from bench.report import Report


def publish(report: Path, page: Path) -> None:
    """Writes the page, and pictures if they can be drawn."""
    made = Report.read(report)
    pictures = draw(made, report.parent, report.stem)
    page.write_text(markdown(made, [relpath(one, page.parent) for one in pictures]))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m bench.publish REPORT.json PAGE.md")
    publish(Path(sys.argv[1]), Path(sys.argv[2]))
