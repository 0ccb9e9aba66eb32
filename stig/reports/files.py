"""Writing the reports: all are rendered before the first is written, and each takes its place by a rename."""

import os
from pathlib import Path

from stig import results
from stig.errors import ScanError
from stig.reports import ckl, page
from stig.results import Scan
from stig.rules import Catalogue

RESULTS, CHECKLIST, PAGE = "results.json", "sentry.ckl", "report.html"


def write(scan: Scan, catalogue: Catalogue, folder: Path) -> tuple[Path, ...]:
    """Write every report into `folder`; `ScanError` when that fails."""
    texts = {
        RESULTS: results.encode(scan),
        CHECKLIST: ckl.render(scan, catalogue).encode(),
        PAGE: page.render(scan, catalogue).encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            new = folder / f".{name}.new"
            new.write_bytes(text)
            os.replace(new, folder / name)  # noqa: PTH105 - replace, as a rename over what is there
    except OSError as error:
        raise ScanError(f"{folder}: the reports cannot be written: {error.strerror}") from error
    return tuple(folder / name for name in texts)
