"""The bill of materials: CycloneDX 1.6 as JSON, of Debian's packages and of what is ours, the same for the same image."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

from images.papers.dpkg import Package

SPECIFICATION = "1.6"


@dataclass(frozen=True, slots=True)
class Subject:
    """What the bill is of: name, version, the bill's id, when (seconds since 1970), and the release of our own code in it."""

    name: str
    version: str
    identity: UUID
    moment: int
    release: str
    distribution: str = "debian-13"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A Python package from PyPI that lies on the image."""

    name: str
    version: str


def bill(subject: Subject, packages: Sequence[Package], wheels: Sequence[Wheel]) -> str:
    """The bill of `subject`, its components by package URL."""
    parts = [*(_package(one, subject) for one in packages), *map(_wheel, wheels), _own(subject)]
    parts.sort(key=lambda part: str(part["purl"]))
    whole = {
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "serialNumber": f"urn:uuid:{subject.identity}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(subject.moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            # Who made the bill: one of the elements that every bill has (NTIA, "The Minimum Elements For an SBOM").
            "tools": {
                "components": [{"type": "application", "name": f"{subject.name} images", "version": subject.version}]
            },
            "component": {
                "type": "operating-system",
                "bom-ref": subject.name,
                "name": subject.name,
                "version": subject.version,
            },
        },
        "components": parts,
        "dependencies": [{"ref": subject.name, "dependsOn": [part["bom-ref"] for part in parts]}],
    }
    return json.dumps(whole, indent=1) + "\n"


def _package(one: Package, subject: Subject) -> dict[str, Any]:
    where = f"arch={one.architecture}&distro={subject.distribution}"
    purl = f"pkg:deb/debian/{quote(one.name)}@{quote(one.version, safe='~')}?{where}"
    made_from = [
        {"name": "debian:source", "value": one.source},
        {"name": "debian:source-version", "value": one.source_version},
    ]
    return {
        "type": "library",
        "bom-ref": purl,
        "name": one.name,
        "version": one.version,
        **({"supplier": {"name": one.maintainer}} if one.maintainer else {}),
        **({"description": one.summary} if one.summary else {}),
        "purl": purl,
        "properties": made_from,
    }


def _own(subject: Subject) -> dict[str, Any]:
    """Our code, which no package brings: named by the digest of its files."""
    purl = f"pkg:generic/{subject.name}@{subject.release}"
    return {"type": "application", "bom-ref": purl, "name": subject.name, "version": subject.release, "purl": purl}


def _wheel(one: Wheel) -> dict[str, Any]:
    purl = f"pkg:pypi/{quote(one.name.lower().replace('_', '-'))}@{quote(one.version)}"
    return {"type": "library", "bom-ref": purl, "name": one.name, "version": one.version, "purl": purl}
