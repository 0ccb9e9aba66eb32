"""V-251008, V-251010, V-251025, V-251028, V-251031, V-251032: what the gateway did with devices that lack one thing each.

A refusal proves nothing where nobody is let in: with each of them the registered device, which lacks nothing, is a point of
evidence too.
"""

from stig.probe.device import Tried
from stig.tried import Tries
from stig.verdict import Point

REFUSED, PASSED = "refused", "let through to the mail server"


def registered(found: Tries) -> Point:
    """The control: who lacks nothing is let through."""
    return _let_in("443: FolderSync of a registered device with its certificate", found.registered)


def compromised(found: Tries, device_id: str) -> tuple[Point, ...]:
    """Refused, for that reason."""
    how = "443: FolderSync of a device the UEM reports as compromised"
    return registered(found), _refused(how, found.compromised), _for(found, device_id, "compromised")


def unregistered(found: Tries, device_id: str) -> tuple[Point, ...]:
    """Refused, for that reason; and so is who shows a revoked certificate, or none."""
    return (
        registered(found),
        _refused("443: FolderSync of a device the UEM does not know, with a good certificate", found.unregistered),
        _for(found, device_id, "unregistered"),
        *without_certificate(found),
        _refused("443: a handshake with a revoked certificate", found.revoked),
    )


def several_factors(found: Tries) -> tuple[Point, ...]:
    """A certificate, and a device that has to be unlocked."""
    return (
        registered(found),
        *without_certificate(found),
        Point(
            "443: the policy handed out to the registered device (DevicePasswordEnabled)",
            {True: "a password is demanded", False: "no password is demanded", None: "no policy was handed out"}[
                found.registered.password
            ],
            "a password is demanded",
            found.registered.password is True,
        ),
    )


def without_certificate(found: Tries) -> tuple[Point, ...]:
    """Refused, though the device is registered."""
    return (_refused("443: the registered device without a certificate", found.bare),)


def unmapped(found: Tries) -> tuple[Point, ...]:
    """A certificate that names nobody is nobody's."""
    how = "443: a certificate of the approved authority that names no user"
    return registered(found), _refused(how, found.unmapped)


def stranger(found: Tries) -> tuple[Point, ...]:
    """A certificate of an authority nobody approved."""
    how = "443: a handshake with a certificate of another authority"
    return registered(found), _refused(how, found.stranger)


def _let_in(how: str, tried: Tried) -> Point:
    return Point(how, tried.said, PASSED, tried.passed)


def _refused(how: str, tried: Tried) -> Point:
    return Point(how, tried.said, REFUSED, not tried.passed)


def _for(found: Tries, device_id: str, reason: str) -> Point:
    said = found.reasons.get(device_id)
    return Point(
        "tail /var/log/sentry/audit.log: reasons in the record of that request",
        "no record of it" if said is None else ", ".join(said) or "none",
        reason,
        said is not None and reason in said,
    )
