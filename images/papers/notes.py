"""Release notes: which files there are, how to start each, what is in them, and what the scan of this very image said."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STATUSES = ("not_a_finding", "open", "not_applicable", "not_reviewed", "error")


class NotesError(RuntimeError):
    """What the notes are to say is not there; the message names the file."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """A file that ships: its name, size, SHA-256, and what it is for."""

    name: str
    size: int
    digest: str
    about: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the notes say of the image: the count of packages, the kernel, the release of our code, the root's verity hash."""

    version: str
    packages: int
    kernel: str
    release: str
    root_hash: str


def counts(results: Path, root_hash: str) -> dict[str, dict[str, int]]:
    """Category -> status -> how many rules, of a scan's results.json. Raises `NotesError`, also where it was another image than
    the one with this root hash that was scanned."""
    try:
        found: dict[str, dict[str, int]] = {}
        scan = json.loads(results.read_text(encoding="utf-8"))
        image = scan["asset"].get("image", "")
        for result in scan["results"]:
            of_category = found.setdefault(result["category"], dict.fromkeys(STATUSES, 0))
            of_category[result["status"]] = of_category.get(result["status"], 0) + 1
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotesError(f"{results}: is no result of a scan ({error})") from error
    if image != root_hash:
        scanned = f"the image with the root hash {image}" if image else "a machine that was started from no image"
        raise NotesError(f"{results}: is a scan of {scanned}; this image has the root hash {root_hash}")
    return found


def text(facts: Facts, shipped: Sequence[Shipped], scanned: Mapping[str, Mapping[str, int]] | None) -> str:
    """The notes as Markdown; without a scan they say that there was none."""
    lines = [
        f"# Sentry {facts.version}",
        "",
        f"Debian 13 with {facts.packages} packages, kernel {facts.kernel}, Sentry's release {facts.release}.",
        f"The root file system is EROFS on dm-verity with the root hash `{facts.root_hash}`.",
        "",
        "| file | MB | for | SHA-256 |",
        "|---|---|---|---|",
        *(f"| `{one.name}` | {one.size / 1_000_000:.1f} | {one.about} | `{one.digest}` |" for one in shipped),
        "",
        "`sha256sum --check SHA256SUMS` compares what was received; docs/images.md says how its signature is verified, how each",
        "image is started, and what Secure Boot and verity protect.",
        "",
        "## STIG",
        "",
        *_stig(scanned),
        "",
    ]
    return "\n".join(lines)


def _stig(scanned: Mapping[str, Mapping[str, int]] | None) -> list[str]:
    if scanned is None:
        return ["This image has not been scanned."]
    head = ["| category | " + " | ".join(status.replace("_", " ") for status in STATUSES) + " |", "|---" * 6 + "|"]
    rows = [
        f"| {category} | " + " | ".join(str(scanned[category].get(status, 0)) for status in STATUSES) + " |"
        for category in sorted(scanned)
    ]
    return ["The rules, counted on this very image:", "", *head, *rows]
