"""Writing the reports: all are rendered before the first is written, and each takes its place by a rename."""

import os
from pathlib import Path

from stig import results
from stig.difference import Difference
from stig.errors import ScanError
from stig.reports import ckl, cklb, junit, oscal, page, poam, xccdf
from stig.results import Scan
from stig.rules import Catalogue


def render(scan: Scan, catalogue: Catalogue, since: Difference | None = None) -> dict[str, bytes]:
    """Every report by the name of its file. `since`: what has changed since an earlier scan, where there is one."""
    return {
        "results.json": results.encode(scan),
        "sentry.ckl": ckl.render(scan, catalogue).encode(),
        "sentry.cklb": cklb.render(scan, catalogue),
        **xccdf.documents(scan, catalogue),
        "oscal-results.json": oscal.render(scan, catalogue),
        "junit.xml": junit.render(scan, catalogue),
        "poam.csv": poam.render(scan, catalogue),
        "report.html": page.render(scan, catalogue, since).encode(),
    }


def write(scan: Scan, catalogue: Catalogue, folder: Path, since: Difference | None = None) -> tuple[Path, ...]:
    """Write every report into `folder`; `ScanError` when that fails."""
    reports = render(scan, catalogue, since)
    return tuple(put(text, folder / name) for name, text in reports.items())


def put(text: bytes, path: Path) -> Path:
    """Write one file by a rename, with the folder it belongs into; `ScanError` when that fails."""
    new = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(text)
        os.replace(new, path)  # noqa: PTH105 - replace, as a rename over what is there
    except OSError as error:
        raise ScanError(f"{path}: cannot be written: {error.strerror}") from error
    return path
