"""Debian's record of installed packages (dpkg's status file, deb822) as values, and the manifest that ships with an image."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

INSTALLED = "install ok installed"
_SOURCE = re.compile(r"(?P<name>\S+)(?: \((?P<version>[^)]+)\))?")


class PackageError(RuntimeError):
    """The record of packages cannot be read; the message says where."""


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """An installed package, and the source package it was built from."""

    name: str
    version: str
    architecture: str
    source: str
    source_version: str
    maintainer: str
    summary: str


def installed(status: str) -> tuple[Package, ...]:
    """Every package that is installed, by name. Raises `PackageError` when there is none, or one lacks a field."""
    found = tuple(sorted(_packages(status)))
    if not found:
        raise PackageError("dpkg's status file names no installed package")
    return found


def _packages(status: str) -> Iterator[Package]:
    for number, paragraph in enumerate(status.strip().split("\n\n"), 1):
        fields = _fields(paragraph)
        if fields.get("Status") != INSTALLED:
            continue
        try:
            name, version = fields["Package"], fields["Version"]
            source = _SOURCE.match(fields.get("Source", name))
            yield Package(
                name,
                version,
                fields["Architecture"],
                source["name"] if source else name,
                (source["version"] if source else None) or version,
                fields.get("Maintainer", ""),
                fields.get("Description", ""),
            )
        except KeyError as error:
            raise PackageError(f"dpkg's status file: paragraph {number} has no field {error}") from error


def _fields(paragraph: str) -> dict[str, str]:
    """Each field's first line; what follows it, indented, is of no use here."""
    pairs = (line.split(":", 1) for line in paragraph.splitlines() if line[:1] not in (" ", "\t") and ":" in line)
    return {name: value.strip() for name, value in pairs}


def manifest(packages: Sequence[Package]) -> str:
    """One line a package: name, version, architecture, source, its version, separated by tabs."""
    head = "#package\tversion\tarchitecture\tsource\tsource version\n"
    lines = ("\t".join((one.name, one.version, one.architecture, one.source, one.source_version)) for one in packages)
    return head + "".join(f"{line}\n" for line in lines)
