"""An app tunnel as the UEM knows it: a name, and where the applications of a device may go under it."""

from typing import Annotated

import msgspec

TunnelName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_\-]{0,31}\Z")]
Host = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:\-]{0,251}[A-Za-z0-9])?\Z")]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class AppTunnel(msgspec.Struct, frozen=True, order=True, forbid_unknown_fields=True, kw_only=True):
    """`host` is a DNS name or an address, as the Sentry is to dial it."""

    name: TunnelName
    host: Host
    port: Port
