"""Kinds of values that several features' schemas share: addresses, networks, names, ports, keys and certificates.

Each kind is a function that makes Cerberus rules: `port("Port", "Where it listens.", default=443)`. A check that refuses
says what is allowed; where the value stands and what was found is said by `appliance.config`.
"""

import base64
import binascii
import datetime
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

Rules = dict[str, Any]
Refuse = Callable[[str, str], None]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
NAME_CHARACTERS = 253  # RFC 1035 2.3.4, without the dot of the root
HOST_NAME_CHARACTERS = 64  # the kernel's limit (__NEW_UTS_LEN)
RSA_BITS = 3_072  # 128 bits of strength, what NIST SP 800-57 asks for beyond 2030
KEY_TYPES = ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
POINT_BYTES = {b"nistp256": 65, b"nistp384": 97, b"nistp521": 133}  # 0x04 and two coordinates (SEC 1, 2.3.3)
THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
USUAL_PORTS = {"http": 80, "https": 443}
PEM_CHARACTERS = 262_144  # a bundle of about 130 certificates

ADDRESS = "an IPv4 or IPv6 address, such as 192.0.2.1"
NETWORK = "a network such as 192.0.2.0/24 or 2001:db8::/32, without bits set beyond the prefix"
SERVER_ADDRESS = "an IPv4 or IPv6 address of one host, such as 192.0.2.1"
SERVER = "an IPv4 or IPv6 address of one host, or a DNS name"
INTERFACE_ADDRESS = "an address with its prefix length, such as 192.0.2.2/24"
NAME = "a DNS name such as mail.example.com"
HOST = "an IPv4 or IPv6 address or a DNS name"
FQDN = f"a full DNS name of at most {HOST_NAME_CHARACTERS} characters, such as gateway.example.com, that does not end in digits"
ROUNDS_LOW, ROUNDS_HIGH = 5_000, 1_000_000  # crypt(5)'s default; a second of one core: more would hang every log-in
PASSWORD_HASH = (
    f"a SHA-512 crypt hash ($6$...) of {ROUNDS_LOW} to {ROUNDS_HIGH} rounds, as `openssl passwd -6` prints it"
)
SSH_KEY = f"one line of an OpenSSH public key without options: {', '.join(KEY_TYPES)} (RSA of at least {RSA_BITS} bits)"
MINUTE = "a minute in UTC, such as 2026-01-31T18:00Z"
PEM = "one or more certificates in PEM form (-----BEGIN CERTIFICATE-----)"
CRL = "one or more revocation lists in PEM form (-----BEGIN X509 CRL-----)"
TLS_VERSIONS = ("1.2", "1.3")

_MINUTE = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}Z")
_HASH = re.compile(r"\$6\$(?:rounds=([1-9][0-9]{3,8})\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=\n]+)-----END CERTIFICATE-----\n?")

_CRL = re.compile(r"-----BEGIN X509 CRL-----\n[A-Za-z0-9+/=\n]+-----END X509 CRL-----\n?")


# --- what a value is ---------------------------------------------------------------------------------------------


def address_of(text: str) -> Address | None:
    """`text` as an address without a zone (`%eth0`), or None."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return None if "%" in text else found


def is_one_host(address: Address) -> bool:
    """Whether `address` may be one host's: no group, not "this network" (RFC 1122 3.2.1.3) and nothing reserved."""
    nobody = address.is_multicast or address.is_unspecified or (address.version == 4 and address.is_reserved)
    return not nobody and not (address.version == 4 and address in THIS_NETWORK)


def is_server_address(text: str) -> bool:
    """Whether `text` is an address a server can have."""
    address = address_of(text)
    return address is not None and is_one_host(address)


def is_server(text: str) -> bool:
    """Whether `text` is an address a server can have, or a DNS name."""
    return is_server_address(text) or is_dns_name(text)


def is_password_hash(text: str) -> bool:
    """Whether `text` is a SHA-512 crypt hash that takes neither too little nor too much work to compute."""
    found = _HASH.fullmatch(text)
    return found is not None and ROUNDS_LOW <= int(found[1] or ROUNDS_LOW) <= ROUNDS_HIGH


def network_of(text: str) -> Network | None:
    """`text` as a network with its prefix written out, or None."""
    try:
        return ipaddress.ip_network(text) if "/" in text and "%" not in text else None
    except ValueError:
        return None


def is_dns_name(text: str) -> bool:
    """Whether `text` is a host name after RFC 1123 2.1, and no address."""
    labels = text.split(".")
    fits = len(text) <= NAME_CHARACTERS and all(LABEL.fullmatch(label) for label in labels)
    return fits and not labels[-1].isdigit()


def is_ssh_key(text: str) -> bool:
    """Whether `text` is one OpenSSH public key (RFC 4253 6.6) of an approved type, without options before it."""
    kind, _, rest = text.partition(" ")
    blob = _decoded(rest.partition(" ")[0])
    if kind not in KEY_TYPES or blob is None or not text.isprintable():
        return False
    fields = _ssh_fields(blob)
    if not fields or fields[0] != kind.encode():
        return False
    if len(fields) != 3:
        return False
    if kind == "ssh-rsa":
        return int.from_bytes(fields[2], "big").bit_length() >= RSA_BITS
    curve, point = fields[1], fields[2]
    # RFC 5656 3.1: the curve's name, then the point, which is never compressed in what OpenSSH writes.
    return kind.endswith(curve.decode(errors="replace")) and len(point) == POINT_BYTES.get(curve) and point[0] == 4


def _ssh_fields(blob: bytes) -> list[bytes]:
    """The length-prefixed strings `blob` consists of (RFC 4251 5); empty when it does not."""
    fields = []
    while blob:
        length = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + length:
            return []
        fields.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return fields


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def certificates_of(text: str) -> tuple[bytes, ...]:
    """The certificates (DER) of a PEM bundle (RFC 7468); empty when there is anything else in it."""
    text = text.replace("\r\n", "\n")
    held = [_decoded(found.replace("\n", "")) for found in _CERTIFICATE.findall(text)]
    strange = _CERTIFICATE.sub("", text).strip()
    # DER of a certificate is a SEQUENCE with a two- or three-byte length; anything else cannot be one.
    if strange or not held or any(der is None or len(der) < 64 or der[0] != 0x30 for der in held):
        return ()
    return tuple(der for der in held if der is not None)


# --- checks ------------------------------------------------------------------------------------------------------


def is_crls(text: str) -> bool:
    """Whether `text` has the form of revocation lists in PEM, and nothing else in it."""
    return bool(text.strip()) and not _CRL.sub("", text).strip()


def check(holds: Callable[[str], object], allowed: str) -> Callable[[str, Any, Refuse], None]:
    """A Cerberus check: refuses a string for which `holds` is not true, with the words `allowed`."""

    def check_with(field: str, value: Any, refuse: Refuse) -> None:
        if isinstance(value, str) and not holds(value):
            refuse(field, allowed)

    return check_with


def is_fqdn(text: str) -> bool:
    """Whether `text` is a name with a domain that the kernel takes as a host name."""
    return "." in text and len(text) <= HOST_NAME_CHARACTERS and is_dns_name(text) and text == text.lower()


def is_interface_address(text: str) -> bool:
    """Whether `text` is an address with a prefix that a host may have (not the network's or the broadcast address)."""
    try:
        found = ipaddress.ip_interface(text)
    except ValueError:
        return False
    small = found.network.num_addresses <= 2  # /31 and /32 (RFC 3021): every address is a host's
    usual = found.version == 6 or small or found.ip not in (found.network[0], found.network[-1])
    return "/" in text and "%" not in text and usual and is_one_host(found.ip) and not found.ip.is_loopback


def minute_of(text: str) -> datetime.datetime:
    """The minute in UTC that `text` names; raises `ValueError`."""
    if not _MINUTE.fullmatch(text):
        raise ValueError(text)
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%MZ").replace(tzinfo=datetime.UTC)


def is_minute(text: str) -> bool:
    """Whether `text` is a minute in UTC."""
    try:
        return bool(minute_of(text))
    except ValueError:
        return False


def is_host(text: str) -> bool:
    """Whether `text` is an address or a DNS name."""
    return address_of(text) is not None or is_dns_name(text)


def is_http_url(text: str) -> bool:
    """Whether `text` is an http URL: where what is signed lies, lists and answers of authorities."""
    return url_of(text, "http") is not None


def url_of(text: str, scheme: str) -> SplitResult | None:
    """`text` as a URL of this scheme, with a host and without an account or a fragment, or None."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    plain = all("!" <= one <= "~" and one not in "\"'<>\\^`{|}" for one in text)
    alone = parts.username is None and not parts.fragment and (port is None or port > 0)
    fits = plain and alone and text.startswith(f"{scheme}://") and is_host(parts.hostname or "")
    return parts if fits else None


def place_of(url: str) -> tuple[str, int]:
    """Host and port that a URL leads to."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or USUAL_PORTS[parts.scheme]


def stripped(value: Any) -> Any:
    """Coercion: a text from a file comes with the file's last line end."""
    return value.strip() if isinstance(value, str) else value


def text_lines(value: Any) -> Any:
    """Coercion: lines end in one way, and the text ends with a line end unless it is empty."""
    if not isinstance(value, str):
        return value
    lines = [line.rstrip() for line in value.replace("\r\n", "\n").strip("\n").split("\n")]
    return "\n".join(lines) + "\n" if any(lines) else ""


def minute_text(value: Any) -> Any:
    """Coercion: YAML reads a time with seconds as a time, and a text from a file comes with the file's last line end."""
    if isinstance(value, datetime.datetime) and value.tzinfo is not None and not value.second:
        return value.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%MZ")
    return stripped(value)


def version_text(value: Any) -> Any:
    """Coercion: YAML reads an unquoted 1.2 as a number."""
    return f"{value:.1f}" if isinstance(value, float) else value


# --- kinds -------------------------------------------------------------------------------------------------------


def described(kind: Mapping[str, Any], label: str, text: str, /, **rules: Any) -> Rules:
    """`kind` with what people read about it, and with further rules (`default`, `required`, bounds)."""
    return {**kind, **rules, "meta": {**kind.get("meta", {}), "label": label, "help": text}}


def text_kind(holds: Callable[[str], object], allowed: str, *, secret: bool = False) -> Rules:
    """A text for which `holds` is true; `allowed` says the same in words."""
    meta: Rules = {"allowed": allowed, **({"secret": True} if secret else {})}
    return {"type": "string", "coerce": stripped, "check_with": check(holds, allowed), "meta": meta}


ADDRESS_KIND = text_kind(address_of, ADDRESS)
SERVER_ADDRESS_KIND = text_kind(is_server_address, SERVER_ADDRESS)
SERVER_KIND = text_kind(is_server, SERVER)
NETWORK_KIND = text_kind(network_of, NETWORK)
INTERFACE_ADDRESS_KIND = text_kind(is_interface_address, INTERFACE_ADDRESS)
NAME_KIND = text_kind(is_dns_name, NAME)
HOST_KIND = text_kind(is_host, HOST)
FQDN_KIND = text_kind(is_fqdn, FQDN)
SSH_KEY_KIND = text_kind(is_ssh_key, SSH_KEY)
PEM_KIND = {
    "type": "string",
    "coerce": text_lines,
    "maxlength": PEM_CHARACTERS,
    "check_with": check(certificates_of, PEM),
    "meta": {"allowed": PEM},
}
CRL_KIND = {
    "type": "string",
    "coerce": text_lines,
    "maxlength": PEM_CHARACTERS,
    "check_with": check(is_crls, CRL),
    "meta": {"allowed": CRL},
}
HASH_KIND = text_kind(is_password_hash, PASSWORD_HASH, secret=True)
MINUTE_KIND: Rules = {
    "type": "string",
    "coerce": minute_text,
    "check_with": check(is_minute, MINUTE),
    "meta": {"allowed": MINUTE},
}
PORT_KIND: Rules = {"type": "integer", "min": 1, "max": 65_535}
TLS_VERSION_KIND: Rules = {"type": "string", "coerce": version_text, "allowed": list(TLS_VERSIONS)}


def group(label: str, text: str, /, **fields: Rules) -> Rules:
    """A group of settings, all of them with their own rules."""
    return {"type": "dict", "schema": fields, "meta": {"label": label, "help": text}}


def line(label: str, text: str, *, characters: int, forbidden: str = "", **rules: Any) -> Rules:
    """One line of printable text without the `forbidden` characters."""
    allowed = f"one line of at most {characters} printable characters" + (
        f" without {_shown(forbidden)}" if forbidden else ""
    )

    def fits(value: str) -> bool:
        return (value.isprintable() or not value) and len(value) <= characters and not set(value) & set(forbidden)

    return described(text_kind(fits, allowed), label, text, **rules)


def _shown(characters: str) -> str:
    return " or ".join("blanks" if character == " " else character for character in characters)


def several(item: Mapping[str, Any], label: str, text: str, *, least: int = 0, most: int, **rules: Any) -> Rules:
    """A list of `least` to `most` different values."""
    return {
        "type": "list",
        "schema": dict(item),
        "minlength": least,
        "maxlength": most,
        "check_with": _different,
        **rules,
        "meta": {"label": label, "help": text},
    }


def _different(field: str, value: Any, refuse: Refuse) -> None:
    if isinstance(value, list) and any(item in value[:index] for index, item in enumerate(value)):
        refuse(field, "every item once")


def named(
    keys: Mapping[str, Any],
    values: Mapping[str, Any],
    label: str,
    text: str,
    *,
    least: int = 0,
    most: int,
    **rules: Any,
) -> Rules:
    """From `least` to `most` named instances, each a group or a value."""
    return {
        "type": "dict",
        "keysrules": dict(keys),
        "valuesrules": dict(values),
        "minlength": least,
        "maxlength": most,
        **rules,
        "meta": {"label": label, "help": text, "allowed": f"{least} to {most} settings, each with a name of your own"},
    }


def switch(label: str, text: str, *, default: bool) -> Rules:
    """On or off."""
    return described({"type": "boolean"}, label, text, default=default)


def number(label: str, text: str, *, low: int, high: int, default: int) -> Rules:
    """A whole number between two bounds."""
    return described({"type": "integer", "min": low, "max": high}, label, text, default=default)
