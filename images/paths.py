"""Where things lie: everything this room makes is below `build/`, which git ignores."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Layout:
    """The places below one build folder; tests have their own."""

    build: Path = REPO / "build"

    @property
    def trees(self) -> Path:
        """Root trees as tar files, named by the digest of their inputs."""
        return self.build / "rootfs"

    @property
    def native(self) -> Path:
        """Compiled modules, each set named by the digest of its inputs, and the tree that compiles them."""
        return self.build / "native"

    @property
    def wheels(self) -> Path:
        """The wheels that were fetched for the appliance's Python."""
        return self.build / "wheels"

    @property
    def guests(self) -> Path:
        """The extracted trees of guests, and their boot logs."""
        return self.build / "guests"

    @property
    def run(self) -> Path:
        """What runs: one JSON file per guest."""
        return self.build / "run"

    @property
    def secrets(self) -> Path:
        """Generated keys and passwords; only their owner may look inside."""
        return self.build / "secrets"

    @property
    def lab(self) -> Path:
        """The lab's own certificates."""
        return self.build / "lab"

    @property
    def appliance(self) -> Path:
        """The description of the running appliance."""
        return self.build / "appliance.json"

    @property
    def stand_ins(self) -> Path:
        """The process that plays the site's other machines, where one runs."""
        return self.build / "stand-ins.json"

    @property
    def known_hosts(self) -> Path:
        """The guest's SSH host keys, read from its tree and not from the network."""
        return self.build / "known_hosts"

    @property
    def inventory(self) -> Path:
        """Ansible's inventory of the lab."""
        return self.build / "inventory.yml"

    @property
    def ca_file(self) -> Path:
        """The appliance's own CA certificate."""
        return self.build / "appliance-ca.pem"

    @property
    def scan(self) -> Path:
        """The reports of the last scan."""
        return self.build / "scan"


def write_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file whole or not at all, with its mode from the first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
        file.write(text)
    fresh.chmod(mode)  # whatever the umask took away
    fresh.replace(path)


def write_json(path: Path, value: Any, mode: int = 0o644) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_file(path, json.dumps(value, indent=2) + "\n", mode)
