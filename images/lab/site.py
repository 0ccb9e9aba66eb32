"""What the lab knows of a site beside its configuration: the scanner's answers, and whether stand-ins play its other machines."""

from dataclasses import dataclass
from pathlib import Path

from images.paths import REPO

STIG = REPO / "sites" / "stig.yml"


@dataclass(frozen=True, slots=True)
class LabSite:
    """A site configuration. `sites/NAME-answers.yml` beside `sites/NAME.yml` is its answer file, where there is one."""

    path: Path

    @property
    def answers(self) -> Path | None:
        """The site's answer file."""
        beside = self.path.with_name(f"{self.path.stem}-answers.yml")
        return beside if beside.is_file() else None

    @property
    def stand_ins(self) -> bool:
        """Whether the site's log server, time servers and the like are played by `images.lab.stand_ins`. For the ordinary lab
        they are not: its tests play them, each what it needs."""
        return self.path.resolve() == STIG
