"""GRUB's environment on the ESP: what a power cut in the middle of writing it leaves is mended, and a spare copy is kept.

`grub-editenv`, which RAUC runs, rewrites the file in place; GRUB neither reads nor writes one that is no whole block, and would
count no try then. The boot menu takes the spare one meanwhile (`images.disk.grub`).
"""

import os
from pathlib import Path

from appliance.disk import sync_folder
from appliance.software.spool import OTHER, Letter, Slots

ESP = Path("/efi")
NAME, SPARE = "grubenv", "grubenv2"
BYTES = 1_024  # grub-editenv(1)
_HEAD = "# GRUB Environment Block\n"


def mend(esp: Path, slots: Slots, running: Letter) -> bool:
    """Write the environment anew if it is no whole block: the slot that runs is first, the other is good if it has run well.
    Whether that was needed."""
    if _is_whole(esp / NAME):
        return False
    other = OTHER[running]
    values = {"ORDER": f"{running.upper()} {other.upper()}"}
    for letter in sorted(OTHER):
        good = letter == running or slots.of(letter).state == "good"
        values |= {f"{letter.upper()}_OK": "1" if good else "0", f"{letter.upper()}_TRY": "0"}
    text = _HEAD + "".join(f"{name}={value}\n" for name, value in values.items())
    _write(esp / NAME, text.ljust(BYTES, "#").encode("ascii"))
    return True


def keep_spare(esp: Path) -> None:
    """Make the spare one what the environment is now."""
    now = (esp / NAME).read_bytes()
    spare = esp / SPARE
    if _is_whole(esp / NAME) and (not spare.exists() or spare.read_bytes() != now):
        _write(spare, now)


def _is_whole(place: Path) -> bool:
    try:
        content = place.read_bytes()
    except FileNotFoundError:
        return False
    return len(content) == BYTES and content.startswith(_HEAD.encode("ascii"))


def _write(place: Path, content: bytes) -> None:
    new = place.with_name(f"{place.name}.new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.rename(place)
    sync_folder(place.parent)
