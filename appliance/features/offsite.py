"""Where kept backups are sent: servers for SFTP and buckets of S3, each by a name of one's own.

A part of the feature `backup`, which has these groups in its schema. The service that sends has the sealed file, which tells it
nothing, and its own keys: the private SSH key is made on the appliance and leaves it in no backup.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from appliance import secret_file
from appliance.features import backends, dns, service_file, tls, values
from appliance.features.base import File, Flow, Problem, System, Tree, Unit
from appliance.features.values import Rules
from appliance.offsite.settings import S3, SETTINGS_PATH, Destination, Settings, Sftp

FILE = str(SETTINGS_PATH)
USER = "sentry-offsite"
UNIT_NAME = "sentry-offsite.service"
FOLDER = f"{tls.FOLDER}/offsite"
SECRETS = f"{FOLDER}/access-keys.secret"  # one file of all: none is left of a bucket that is gone
MOST = 4  # of each kind: a pair, and one that is being moved to and from
NETWORKS = 16
HOST_KEYS = 4  # one of each type; or two while the server's key is being changed
SSH_PORT = 22

NAME = "up to 32 of a-z, 0-9, - and _, beginning with a letter"
ACCOUNT = "up to 64 of A-Z, a-z, 0-9, ., _ and -, beginning with a letter or _"
DIRECTORY = "a path of A-Z, a-z, 0-9, ., _, - and / without .. in it, of at most 200 characters"
ENDPOINT = "https:// with a host and, where it has one, a port, such as https://s3.eu-central-1.amazonaws.com"
REGION = "up to 64 of a-z, 0-9 and -, such as eu-central-1"
BUCKET = "3 to 63 of a-z, 0-9, . and -, beginning and ending with a letter or digit"
PREFIX = "up to 200 of A-Z, a-z, 0-9, ., _, - and /, without .. in it and no / in front, such as gw1/"
KEY_ID = "16 to 128 letters, digits and _"
SECRET_KEY = "16 to 256 printable ASCII characters without blanks"  # noqa: S105 - words about one
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,63}")
_PATH = re.compile(r"[A-Za-z0-9._/-]{1,200}")
_REGION = re.compile(r"[a-z0-9-]{1,64}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_KEY_ID = re.compile(r"[A-Za-z0-9_]{16,128}")
_SECRET_KEY = re.compile(r"[!-~]{16,256}")


def _is_path(text: str) -> bool:
    return _PATH.fullmatch(text) is not None and ".." not in text.split("/") and "//" not in text


def _is_prefix(text: str) -> bool:
    return _is_path(text) and not text.startswith("/")


def _is_directory(text: str) -> bool:
    return _is_path(text) and not text.startswith("-")


def _is_endpoint(text: str) -> bool:
    parts = values.url_of(text, "https")
    return parts is not None and parts.path in ("", "/") and not parts.query


def trust_path(name: str) -> str:
    """Where the anchors for a bucket's server lie. No backend's name has a dot in it, so no backend's lie there."""
    return f"{backends.TRUST}/backup.{name}.pem"


def verify(tree: Tree) -> Iterable[Problem]:
    """Each destination has a name of its own, and there is something to be sent."""
    held = tree["backup"]
    for name in sorted(set(held["sftp"]) & set(held["s3"])):
        yield Problem(f"backup.s3.{name}", f"{name}, which is a name in backup.sftp", "every name once")
    for name, one in sorted(held["s3"].items()):
        yield from tls.verify(f"backup.s3.{name}.tls_versions", one["tls_versions"])
    kept = held["on_change"] or "daily_at" in held
    if not kept:
        for kind in ("sftp", "s3"):
            if held[kind]:
                yield Problem(f"backup.{kind}", "something", "nothing unless backups are kept (on_change or daily_at)")


def settings(tree: Tree) -> Settings | None:
    """The service's settings; None where backups are sent nowhere."""
    held = tree["backup"]
    made: dict[str, Destination] = {name: _sftp(one) for name, one in sorted(held["sftp"].items())}
    made |= {name: _s3(name, one) for name, one in sorted(held["s3"].items())}
    return Settings(destinations=made, secrets=SECRETS) if made else None


def _sftp(held: Mapping[str, Any]) -> Sftp:
    return Sftp(
        host=held["host"],
        port=held["port"],
        user=held["user"],
        host_keys=tuple(" ".join(each.split()[:2]) for each in held["host_keys"]),
        directory=held.get("directory", ""),
    )


def _s3(name: str, held: Mapping[str, Any]) -> S3:
    return S3(
        endpoint=held["endpoint"],
        region=held["region"],
        bucket=held["bucket"],
        prefix=held.get("prefix", ""),
        access_key_id=held["access_key_id"],
        trust=trust_path(name) if "ca_certificates" in held else backends.SYSTEM_TRUST,
        minimum=held["tls_versions"]["minimum"],
        maximum=held["tls_versions"]["maximum"],
    )


def render(tree: Tree) -> Mapping[str, File]:
    """The settings file, without which the service does not run, and the anchors where the site says which."""
    made = settings(tree)
    if made is None:
        return {}
    files = {FILE: service_file.readable_by(USER, made)}
    for name, held in sorted(tree["backup"]["s3"].items()):
        if "ca_certificates" in held:
            files[trust_path(name)] = File(held["ca_certificates"])
    return files


def flows(tree: Tree) -> tuple[Flow, ...]:
    """The service's way to each destination: into the listed networks, or to the static address of its name. A name that has
    neither may be anybody."""
    return tuple(_flows(tree))


def _flows(tree: Tree) -> Iterator[Flow]:
    held = tree["backup"]
    for _name, one in sorted(held["sftp"].items()):
        yield _flow(tree, one["host"], one["port"], one["networks"])
    for _name, one in sorted(held["s3"].items()):
        yield _flow(tree, *values.place_of(one["endpoint"]), one["networks"])


def _flow(tree: Tree, host: str, port: int, networks: Iterable[str]) -> Flow:
    return Flow("backup", "out", "tcp", port, None, tuple(networks) or dns.addresses_of(tree, host), USER)


def reconcile(tree: Tree, system: System) -> bool:
    """The secret access keys lie where the service reads them, for as long as there are such; it reads them for each file."""
    held: Mapping[str, Any] = tree["backup"].get("s3", {})
    if not held:
        return secret_file.remove(SECRETS, system)
    revealed = {name: system.secret(one["secret_access_key"]) for name, one in sorted(held.items())}
    system.run(["install", "-d", "-o", "root", "-g", "root", "-m", "0755", FOLDER])
    return secret_file.put(SECRETS, msgspec.json.encode(revealed).decode(), USER, system)


UNIT = Unit(UNIT_NAME, "restart", (FILE, trust_path("*")))

NETWORKS_RULES: Rules = values.several(
    values.NETWORK_KIND,
    "Networks",
    "In which its addresses lie; the firewall lets backups out to these. Empty: to the static address of its name"
    " (`dns.static_hosts`), or to anybody where that has none.",
    most=NETWORKS,
    default=[],
)
_KEYS = values.text_kind(_NAME.fullmatch, NAME)

SFTP = values.named(
    _KEYS,
    values.group(
        "SFTP server",
        "One server that gets each kept backup. Its account takes the key that `show backup-key` shows.",
        host=values.described(values.HOST_KIND, "Host", "Its name or address.", required=True),
        port=values.described(values.PORT_KIND, "Port", "Where its SSH server listens.", default=SSH_PORT),
        user=values.described(
            values.text_kind(_ACCOUNT.fullmatch, ACCOUNT), "User", "As whom to log in there.", required=True
        ),
        host_keys=values.several(
            values.SSH_KEY_KIND,
            "Host keys",
            "Its public keys, as `ssh-keyscan` prints them behind the name; it must have one of them. Compare them there.",
            least=1,
            most=HOST_KEYS,
            required=True,
        ),
        directory=values.described(
            values.text_kind(_is_directory, DIRECTORY),
            "Directory",
            "Where they go; it must be there. Without it: where the log-in leads.",
        ),
        networks=NETWORKS_RULES,
    ),
    "SFTP servers",
    "Servers that each kept backup is sent to, by a name of your own.",
    most=MOST,
    default={},
)

S3_BUCKETS = values.named(
    _KEYS,
    values.group(
        "S3 bucket",
        "One bucket that gets each kept backup. The access key needs s3:PutObject there, and nothing else.",
        endpoint=values.described(
            values.text_kind(_is_endpoint, ENDPOINT),
            "Endpoint",
            "The server; its certificate must be for it.",
            required=True,
        ),
        region=values.described(
            values.text_kind(_REGION.fullmatch, REGION), "Region", "What the server calls it.", required=True
        ),
        bucket=values.described(
            values.text_kind(_BUCKET.fullmatch, BUCKET), "Bucket", "Its name; it must be there.", required=True
        ),
        prefix=values.described(
            values.text_kind(_is_prefix, PREFIX), "Prefix", "What stands before the names of the files."
        ),
        access_key_id=values.described(
            values.text_kind(_KEY_ID.fullmatch, KEY_ID), "Access key id", "Who sends.", required=True
        ),
        secret_access_key=values.described(
            values.text_kind(_SECRET_KEY.fullmatch, SECRET_KEY, secret=True),
            "Secret access key",
            "Of this access key.",
            required=True,
        ),
        ca_certificates=values.described(
            values.PEM_KIND, "CA certificates", "PEM of the authorities believed for it. Without it: the system's."
        ),
        tls_versions={**tls.VERSIONS, "default": {}},
        networks=NETWORKS_RULES,
    ),
    "S3 buckets",
    "Buckets that each kept backup is sent to, by a name of your own.",
    most=MOST,
    default={},
)
