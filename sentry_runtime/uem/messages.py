"""Bytes from the other side of the UEM protocol into checked messages.

The types say which fields there are; this module adds what a type cannot say: bounds and canonical forms. A message
that fails is refused as a whole, with the place in it named, so that half of it never takes effect.
"""

import re
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from sentry_runtime.devices.record import DeviceKey, Reason, State, Wipe, WipeMark
from sentry_runtime.devices.store import DEVICE_ID_BYTES, PRINCIPAL_BYTES, fits
from sentry_runtime.devices.tunnel import HOST_CHARS, NAME_CHARS, TUNNELS, AppTunnel, TunnelAuthentication
from sentry_runtime.eas import principal as names
from sentry_runtime.eas.device_information import FIELD_CHARS, cleaned
from sentry_runtime.json_text import decoded
from sentry_runtime.uem.api import (
    DECISIONS_PER_PAGE,
    BucketPage,
    Contact,
    Decision,
    DecisionPage,
    Digests,
    Information,
    Push,
    WipeReport,
)
from sentry_runtime.uem.cloud_api import (
    CANDIDATES,
    INVENTORY_PER_PAGE,
    Candidates,
    CloudSettings,
    Inventory,
    Unidentified,
)
from sentry_runtime.uem.digests import BUCKETS, bucket_of, root

MESSAGE_BYTES = 4 * 1_048_576  # a page of `DECISIONS_PER_PAGE` with the longest words in the widest script is 2.6 MiB
DECISIONS_BYTES = MESSAGE_BYTES - 65_536  # of the decisions in one message; the rest is for the message around them
WORDS_CHARS = 256  # device type, user agent, protocol, note: what a person reads in a table
ALIASES = 8  # other spellings of one device id; the canonical form's table has three
VERSION_MAX = 2**53 - 1  # what a JSON number carries exactly everywhere (RFC 8259 section 6)

_NO_NAME = (
    rf"a principal is `user`, `user@domain` or `DOMAIN\user`, at most {PRINCIPAL_BYTES} bytes, "
    "without spaces and control characters"
)

_ANY = names.Names()  # of a site that says nothing of its domains
_HOST = re.compile(
    r"[a-z0-9](?:[a-z0-9.:_-]*[a-z0-9])?"
)  # a DNS name or an address; which, the gateway finds out when it dials
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PORT_MAX = 65_535
Message = TypeVar(
    "Message",
    Contact,
    Decision,
    DecisionPage,
    Digests,
    BucketPage,
    Information,
    Push,
    WipeReport,
    Candidates,
    CloudSettings,
    Inventory,
)


class MessageError(ValueError):
    """The message is not of the protocol; the text names the place and what was found."""


def decode(body: bytes, kind: type[Message]) -> Message:
    """One checked message of this kind. Raises `MessageError`."""
    try:
        message = decoded(msgspec.json.Decoder(kind).decode, body)
    except msgspec.MsgspecError as error:
        raise MessageError(str(error)) from error
    match message:
        case Contact():
            _check_contact(message)
        case Decision():
            _check_decision(message, "$")
        case DecisionPage():
            _check_page(message)
        case Information():
            _check_information(message)
        case Digests():
            _check_digests(message)
        case BucketPage():
            _check_bucket(message)
        case Push():
            _check_number(len(message.decisions), DECISIONS_PER_PAGE, "$.decisions")
            _check_all(message.decisions)
        case WipeReport():
            check_key(message.device_id, message.principal)
            _check_wipe(message.wipe, "$.wipe")
        case _:
            _check_cloud(message)
    return message


def canonical(device_id: str, principal: str, site: names.Names = _ANY) -> DeviceKey:
    """The key under which gateway, agent and UEM know a device: the id in upper case, the one name that the site has for
    the person.

    Raises `MessageError` for what cannot be a person's name, so that nobody waits for the effect of a word on nobody.
    """
    try:
        return DeviceKey(device_id.upper(), site.canonical(principal))
    except names.PrincipalError:
        raise MessageError(f"{_NO_NAME}; found {principal[:64]!r}") from None


def check_key(device_id: str, principal: str, place: str = "$") -> None:
    """Raise `MessageError` unless both are within their bounds and in canonical form."""
    key = DeviceKey(device_id, principal)
    if not fits(key):
        raise MessageError(
            f"`device_id` of 1 to {DEVICE_ID_BYTES} bytes and `principal` of 1 to {PRINCIPAL_BYTES} bytes are allowed, "
            f"both without NUL; found {len(device_id)} and {len(principal)} characters - at `{place}`"
        )
    if not (device_id.isprintable() and principal.isprintable()):
        raise MessageError(f"a control character is not allowed in a device id or a principal - at `{place}`")
    if device_id != device_id.upper():
        raise MessageError(f"`device_id` is upper case; found {device_id!r} - at `{place}`")
    try:
        wanted = names.canonical(principal)
    except names.PrincipalError:
        raise MessageError(f"{_NO_NAME}; found {principal[:64]!r} - at `{place}`") from None
    if principal != wanted:
        raise MessageError(f"`principal` is in canonical form, {wanted!r}; found {principal!r} - at `{place}`")


def check_words(place: str, **fields: str) -> None:
    """Raise `MessageError` for a text longer than `WORDS_CHARS` or with a control character in it."""
    for name, text in fields.items():
        if len(text) > WORDS_CHARS:
            raise MessageError(f"at most {WORDS_CHARS} characters are allowed, found {len(text)} - at `{place}.{name}`")
        if not text.isprintable():
            raise MessageError(f"a control character is not allowed - at `{place}.{name}`")


def that_fit(decisions: Iterable[Decision]) -> tuple[Decision, ...]:
    """As many of the first decisions as one message holds; with long policies that is fewer than its number allows."""
    fitting: list[Decision] = []
    room = DECISIONS_BYTES
    for decision in decisions:
        room -= len(msgspec.json.encode(decision)) + 1
        if room < 0:
            break
        fitting.append(decision)
    return tuple(fitting)


def _check_information(told: Information) -> None:
    check_key(told.device_id, told.principal)
    if told.information != cleaned(told.information):
        raise MessageError(f"each field is one line of at most {FIELD_CHARS} printable characters - at `$.information`")


def _check_contact(contact: Contact) -> None:
    check_key(contact.device_id, contact.principal)
    check_words("$", device_type=contact.device_type, user_agent=contact.user_agent, protocol=contact.protocol)
    if len(contact.device_aliases) > ALIASES:
        raise MessageError(f"at most {ALIASES} aliases are allowed - at `$.device_aliases`")
    for position, alias in enumerate(contact.device_aliases):
        check_key(alias, contact.principal, f"$.device_aliases[{position}]")


def _check_decision(decision: Decision, place: str) -> None:
    check_key(decision.device_id, decision.principal, place)
    check_words(place, device_type=decision.device_type, note=decision.note)
    _check_number(len(decision.reasons), len(Reason), f"{place}.reasons")
    if not 1 <= decision.version <= VERSION_MAX:
        raise MessageError(f"1 to {VERSION_MAX} is allowed, found {decision.version} - at `{place}.version`")
    if decision.removed:
        return
    wanted = None if decision.state in (State.ALLOWED, State.BLOCKED) else decision.state
    if (None if decision.wipe is None else decision.wipe.state) is not wanted:
        raise MessageError(f"the state is {decision.state}, which is not what `wipe` says - at `{place}.wipe`")
    if decision.wipe is not None:
        _check_wipe(decision.wipe, f"{place}.wipe")
    if decision.tunnels:
        _check_tunnels(decision.tunnels, f"{place}.tunnels")


def _check_tunnels(tunnels: tuple[AppTunnel, ...], place: str) -> None:
    if len(tunnels) > TUNNELS:
        raise MessageError(f"at most {TUNNELS} tunnels are allowed, found {len(tunnels)} - at `{place}`")
    for position, one in enumerate(tunnels):
        check_tunnel(one, f"{place}[{position}]")
    if len({one.name for one in tunnels}) < len(tunnels):
        raise MessageError(f"each tunnel of a device has a name of its own - at `{place}`")


def check_tunnel(one: AppTunnel, place: str = "$") -> None:
    """Raise `MessageError` unless the tunnel is one that a decision may have."""
    if not (1 <= len(one.name) <= NAME_CHARS and one.name.isprintable()):
        raise MessageError(f"1 to {NAME_CHARS} printable characters are allowed - at `{place}.name`")
    if not (len(one.host) <= HOST_CHARS and _HOST.fullmatch(one.host)):
        raise MessageError(
            f"a DNS name in lower case or an address is allowed, found {one.host[:64]!r} - at `{place}.host`"
        )
    if not 1 <= one.port <= _PORT_MAX:
        raise MessageError(f"1 to {_PORT_MAX} is allowed, found {one.port} - at `{place}.port`")
    if not 1 <= len(one.authentication) <= len(TunnelAuthentication):
        raise MessageError(
            f"1 to {len(TunnelAuthentication)} are allowed, found {len(one.authentication)} - at `{place}.authentication`"
        )


def _check_wipe(wipe: Wipe, place: str) -> None:
    check_words(place, by=wipe.by)
    if not 1 <= wipe.order <= VERSION_MAX:
        raise MessageError(f"1 to {VERSION_MAX} is allowed, found {wipe.order} - at `{place}.order`")
    if len(wipe.marks) > len(WipeMark):
        raise MessageError(f"at most {len(WipeMark)} marks are allowed, found {len(wipe.marks)} - at `{place}.marks`")


def _check_all(decisions: tuple[Decision, ...]) -> None:
    for position, decision in enumerate(decisions):
        _check_decision(decision, f"$.decisions[{position}]")


def _check_page(page: DecisionPage) -> None:
    _check_number(len(page.decisions), DECISIONS_PER_PAGE, "$.decisions")
    _check_all(page.decisions)
    if not 0 <= page.next <= VERSION_MAX:
        raise MessageError(f"0 to {VERSION_MAX} is allowed, found {page.next} - at `$.next`")
    versions = [decision.version for decision in page.decisions]
    if versions != sorted(versions):
        raise MessageError("decisions come in the order of their versions - at `$.decisions`")
    if versions and page.next < versions[-1]:
        raise MessageError(f"`next` {page.next} lies before the last version {versions[-1]} - at `$.next`")
    if page.more and not versions:
        raise MessageError("a page without decisions cannot have `more` - at `$.more`")


def _check_digests(digests: Digests) -> None:
    if not 0 <= digests.version <= VERSION_MAX:
        raise MessageError(f"0 to {VERSION_MAX} is allowed, found {digests.version} - at `$.version`")
    if not _DIGEST.fullmatch(digests.root):
        raise MessageError("a digest is 64 hexadecimal digits in lower case - at `$.root`")
    if digests.buckets and len(digests.buckets) != BUCKETS:
        raise MessageError(f"none or {BUCKETS} are allowed, found {len(digests.buckets)} - at `$.buckets`")
    for position, one in enumerate(digests.buckets):
        if not _DIGEST.fullmatch(one):
            raise MessageError(f"a digest is 64 hexadecimal digits in lower case - at `$.buckets[{position}]`")
    if digests.buckets and root(digests.buckets) != digests.root:
        raise MessageError("it is not the digest of the buckets - at `$.root`")


def _check_bucket(page: BucketPage) -> None:
    _check_number(len(page.decisions), DECISIONS_PER_PAGE, "$.decisions")
    _check_all(page.decisions)
    versions = [decision.version for decision in page.decisions]
    if not 0 <= page.version <= VERSION_MAX:
        raise MessageError(f"0 to {VERSION_MAX} is allowed, found {page.version} - at `$.version`")
    if versions != sorted(versions) or (versions and page.version < versions[-1]):
        raise MessageError("decisions come in the order of their versions, none behind `version` - at `$.decisions`")
    if page.more and not versions:
        raise MessageError("a page without decisions cannot have `more` - at `$.more`")
    if any(decision.removed for decision in page.decisions):
        raise MessageError("a bucket has no removed devices - at `$.decisions`")
    if len({bucket_of(decision.device_id, decision.principal) for decision in page.decisions}) > 1:
        raise MessageError("the devices are of several buckets - at `$.decisions`")


def _check_cloud(message: Candidates | CloudSettings | Inventory) -> None:
    if isinstance(message, Candidates):
        _check_candidates(message)
    elif isinstance(message, Inventory):
        _check_inventory(message)


def _check_candidates(candidates: Candidates) -> None:
    if not 1 <= candidates.version <= VERSION_MAX:
        raise MessageError(f"1 to {VERSION_MAX} is allowed, found {candidates.version} - at `$.version`")
    for name, registered in (("registered", True), ("unregistered", False)):
        held: tuple[Decision, ...] = getattr(candidates, name)
        _check_number(len(held), CANDIDATES, f"$.{name}")
        for position, one in enumerate(held):
            place = f"$.{name}[{position}]"
            _check_decision(one, place)
            if one.removed or one.registered is not registered:
                raise MessageError(f"only what is {name} and not removed is allowed - at `{place}`")
    names = {(one.device_id, one.principal) for one in (*candidates.registered, *candidates.unregistered)}
    if len(names) < len(candidates.registered) + len(candidates.unregistered):
        raise MessageError("one device is there twice: which word counts, nobody can say - at `$.registered`")
    _check_number(len(candidates.unidentified), CANDIDATES, "$.unidentified")
    for position, device in enumerate(candidates.unidentified):
        _check_unidentified(device, f"$.unidentified[{position}]")


def _check_unidentified(device: Unidentified, place: str) -> None:
    check_key("-", device.principal, place)
    check_words(place, device_type=device.device_type, note=device.note)
    _check_number(len(device.reasons), len(Reason), f"{place}.reasons")
    if device.state not in (State.ALLOWED, State.BLOCKED):
        raise MessageError(f"allowed or blocked is allowed, found {device.state} - at `{place}.state`")
    _check_tunnels(device.tunnels, f"{place}.tunnels")


def _check_inventory(inventory: Inventory) -> None:
    if not 0 <= inventory.after < inventory.number <= VERSION_MAX:
        raise MessageError(f"0 <= `after` < `number` <= {VERSION_MAX} is allowed - at `$.number`")
    _check_number(len(inventory.tunnels) + len(inventory.gone), INVENTORY_PER_PAGE, "$")
    for position, one in enumerate(inventory.tunnels):
        place = f"$.tunnels[{position}]"
        check_key(one.device_id, one.principal, place)
        check_words(place, device_type=one.device_type)
        _check_number(len(one.apps), TUNNELS, f"{place}.apps")
        if not 0 <= one.version <= VERSION_MAX:
            raise MessageError(f"0 to {VERSION_MAX} is allowed, found {one.version} - at `{place}.version`")
        for name in one.apps:
            if not (0 < len(name) <= NAME_CHARS and name.isprintable()):
                raise MessageError(f"a tunnel's name has 1 to {NAME_CHARS} printable characters - at `{place}.apps`")
    for position, key in enumerate(inventory.gone):
        check_key(key.device_id, key.principal, f"$.gone[{position}]")


def _check_number(found: int, most: int, place: str) -> None:
    if found > most:
        raise MessageError(f"at most {most} are allowed, found {found} - at `{place}`")
