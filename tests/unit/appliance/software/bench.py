"""A machine with two slots for tests: the folder is real, RAUC and veritysetup are a table of answers."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.process import CommandError
from appliance.software.carrying import Machine
from appliance.software.spool import Letter, Slot, Slots, Spool

HASH = {"a": "aa" * 32, "b": "bb" * 32}
COMMAND_LINE = (
    f"root=/dev/mapper/root roothash={HASH['a']} systemd.verity_root_options=hash-offset=4096,panic-on-corruption"
)
NOW = "2026-01-31T18:00:00Z"


def info(version: str, **more: Any) -> str:
    """What `rauc info --output-format=json-2` prints (RAUC 1.13); tests/images holds that against RAUC itself."""
    images = [
        {"slot-class": "rootfs", "filename": "root.img", "checksum": "c" * 64, "size": 2_097_152},
        {"slot-class": "boot", "filename": "boot.img", "checksum": "d" * 64, "size": 1_048_576},
    ]
    meta = {"sentry": {"root-hash": HASH["b"], "hash-offset": "8192"}}
    return json.dumps({"update": {"compatible": "x", "version": version}, "images": images, "meta": meta, **more})


@dataclass
class Programs:
    """Answers commands by their first three words; what is not in the table says nothing and is well."""

    answers: dict[str, str] = field(default_factory=dict)
    failing: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def __call__(self, argv: list[str], *, seconds: float = 60.0) -> str:
        assert seconds > 0
        self.log.append(" ".join(argv))
        for words, output in self.failing.items():
            if " ".join(argv).startswith(words):
                raise CommandError(argv, 1, output)
        return next((said for words, said in self.answers.items() if " ".join(argv).startswith(words)), "")


class Bench:
    """Slot a runs 1.2.0 and is good, b holds 1.1.0, which ran well once."""

    def __init__(self, folder: Path) -> None:
        self.programs = Programs({"rauc info": info("1.3.0")})
        self.spool = Spool(folder / "software")
        self.spool.note(
            Slots(
                next="a",
                a=Slot(version="1.2.0", state="good", root_hash=HASH["a"], hash_offset=4096),
                b=Slot(version="1.1.0", state="good", root_hash=HASH["b"], hash_offset=4096),
            )
        )

    def machine(self, *, version: str = "1.2.0", slot: Letter = "a") -> Machine:
        """The machine as it runs from a slot."""
        return Machine(run=self.programs, version=version, slot=slot, now=lambda: NOW)

    def bring(self, data: bytes = b"bundle") -> None:
        """An upload that is whole."""
        self.spool.begin()
        self.spool.add(0, data)
        self.spool.finish()

    @property
    def slots(self) -> Slots:
        found = self.spool.slots()
        assert found is not None
        return found
