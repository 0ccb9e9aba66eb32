"""Who listens to the agent's parts in tests."""

from dataclasses import dataclass, field
from typing import Any

from sentry_runtime.devices.record import DeviceKey


@dataclass
class Ears:
    """What was announced and audited."""

    announced: list[tuple[DeviceKey, ...]] = field(default_factory=list)
    audited: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def announce(self, keys: tuple[DeviceKey, ...]) -> None:
        """The followers' side."""
        self.announced.append(keys)

    def audit(self, event: str, **fields: Any) -> None:
        """The trail's side."""
        self.audited.append((event, fields))

    @property
    def events(self) -> list[str]:
        """The names of what was audited."""
        return [event for event, _ in self.audited]
