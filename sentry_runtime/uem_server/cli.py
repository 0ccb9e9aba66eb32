"""`sentry-uem users|labels|tunnels|sentrys|enrolments|devices|sheets|status ...`: the UEM's administration, over its REST.

On the UEM's own machine it speaks on the Unix socket, elsewhere to `--url` with the administrator's certificate. Each thing that
is listed is one line of JSON; what goes wrong is one line on stderr and exit code 1.
"""

import argparse
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from sentry_runtime.devices.tunnel import TunnelAuthentication
from sentry_runtime.settings import ClientTls, Paths, SettingsError
from sentry_runtime.tls import client_context
from sentry_runtime.uem.api import Problem
from sentry_runtime.uem.security import Platform
from sentry_runtime.uem_server.resources import RANK_DEFAULT
from sentry_runtime.uem_server.rules import CAUSES

PROGRAM = "sentry-uem"
BASE = "/admin/v1"
SECONDS = 90.0  # a sheet of 10,000 devices takes some tens of seconds
NOUNS = ("users", "labels", "tunnels", "sentrys", "enrolments", "devices", "sheets", "status")

_PAGE = 500
_YES = {"yes": True, "no": False}


class CallError(RuntimeError):
    """The UEM cannot be reached or has refused; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request: what is sent, and under which name the answer's cursor leads to the next page."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes | None = None
    kind: str = "application/json"


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say; 0, or 1 with the reason on stderr."""
    given = _parser().parse_args(arguments)
    try:
        with closing(_connection(given)) as peer:
            _run(peer, given)
    except (CallError, SettingsError, OSError) as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return 1
    return 0


def _run(peer: HTTPConnection, given: argparse.Namespace) -> None:
    if given.noun == "devices" and given.verb == "list":
        _list_devices(peer, given)
    elif given.noun == "users" and given.verb == "list":
        _list_users(peer)
    else:
        answer = _send(peer, given.call(given))
        if given.noun == "sheets" and given.verb == "export":
            sys.stdout.write(answer.decode())
        elif answer:
            sys.stdout.writelines(_lines(msgspec.json.decode(answer)))


class _LocalConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("uem", timeout=SECONDS)
        self.place = str(path)

    def connect(self) -> None:
        """Dial the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.sock.settimeout(SECONDS)
        self.sock.connect(self.place)


def _connection(given: argparse.Namespace) -> HTTPConnection:
    if given.url is None:
        return _LocalConnection(given.socket)
    if None in (given.trust, given.certificate, given.key):
        raise CallError("--url goes with --trust, --certificate and --key")
    tls = ClientTls(trust=str(given.trust), certificate=str(given.certificate), key=str(given.key))
    try:
        url = urlsplit(given.url)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise CallError(f"--url: {error}") from error
    if url.scheme != "https" or host is None or url.path.strip("/") or url.query or url.username is not None:
        raise CallError(f"--url is https://HOST:PORT, found {given.url[:80]!r}")
    return HTTPSConnection(host, port, context=client_context(tls), timeout=SECONDS)


def _send(peer: HTTPConnection, call: Call) -> bytes:
    """The body of the answer. Raises `CallError`."""
    path = f"{BASE}/{call.path}" + (f"?{urlencode(call.query)}" if call.query else "")
    headers = {} if call.body is None else {"Content-Type": call.kind}
    try:
        peer.request(call.method, path, body=call.body, headers=headers)
        response = peer.getresponse()
        body = response.read()
    except TimeoutError as error:
        raise CallError(f"no answer within {SECONDS:g} s") from error
    except OSError as error:
        place = peer.place if isinstance(peer, _LocalConnection) else peer.host
        raise CallError(f"{place}: {error.strerror or error}") from error
    except HTTPException as error:
        raise CallError(f"an answer that cannot be read: {error!r}") from error
    if response.status >= 300:
        raise CallError(_refusal(response.status, body))
    return body


def _refusal(status: int, body: bytes) -> str:
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except msgspec.MsgspecError:
        return f"answered {status}"
    return f"{problem.title}: {problem.detail}" if problem.detail else problem.title


def _list_devices(peer: HTTPConnection, given: argparse.Namespace) -> None:
    query, more = {"limit": str(_PAGE)}, True
    if given.device is not None:
        query["device_id"] = given.device
    while more:
        page = msgspec.json.decode(_send(peer, Call("GET", "devices", query)))
        sys.stdout.writelines(_lines(page["devices"]))
        query, more = {**query, "after": str(page["next"])}, page["more"]


def _list_users(peer: HTTPConnection) -> None:
    after: str | None = ""
    while after is not None:
        found = msgspec.json.decode(_send(peer, Call("GET", "users", {"after": after, "limit": str(_PAGE)})))
        sys.stdout.writelines(_lines(found))
        after = found[-1]["principal"] if len(found) == _PAGE else None


def _lines(answer: Any) -> Iterator[str]:
    for one in answer if isinstance(answer, list) else [answer]:
        yield msgspec.json.encode(one).decode() + "\n"


# --- the words ---


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Administer the UEM.")
    default = Path(Paths().uem_admin).with_name("rest.sock")
    parser.add_argument("--socket", type=Path, default=default, help="of the UEM on this machine")
    parser.add_argument("--url", help="of the UEM on another machine: https://HOST:PORT")
    for name, text in (
        ("trust", "who signs the UEM's certificate"),
        ("certificate", "the administrator's"),
        ("key", "its key"),
    ):
        parser.add_argument(f"--{name}", type=Path, help=f"{text} (PEM)")
    nouns = parser.add_subparsers(dest="noun", required=True)
    status = nouns.add_parser("status", help="the UEM at a glance")
    status.set_defaults(verb="show", call=lambda _given: Call("GET", "status", {}))
    _add_users(nouns)
    _add_labels(nouns)
    _add_tunnels(nouns)
    _add_sentrys(nouns)
    _add_enrolments(nouns)
    _add_devices(nouns)
    _add_sheets(nouns)
    return parser


def _add_users(nouns: Any) -> None:
    put = _resource(
        nouns,
        "users",
        "people and their labels",
        lambda one: {"principal": one.principal, "full_name": one.full_name, "labels": one.label},
        "principal",
    )
    put.add_argument("principal", metavar="PRINCIPAL", help="user@domain or user")
    put.add_argument("--full-name", default="")
    _labels(put)


def _add_labels(nouns: Any) -> None:
    put = _resource(
        nouns,
        "labels",
        "what devices are grouped by",
        lambda one: {
            "name": one.name,
            "description": one.description,
            "rank": one.rank,
            "policy": one.policy,
            "security_policy": one.security_policy,
        },
    )
    put.add_argument("name", metavar="NAME")
    put.add_argument("--description", default="")
    put.add_argument("--rank", type=int, default=RANK_DEFAULT, help="of several labels the lowest speaks first")
    put.add_argument("--policy", help="the name of an ActiveSync policy")
    put.add_argument("--security-policy", help="the name of a security policy")


def _add_tunnels(nouns: Any) -> None:
    put = _resource(
        nouns,
        "tunnels",
        "where applications may go",
        lambda one: {
            "name": one.name,
            "host": one.host,
            "port": one.port,
            "authentication": one.authentication or [TunnelAuthentication.PASS_THROUGH.value],
            "labels": one.label,
        },
    )
    put.add_argument("name", metavar="NAME")
    put.add_argument("host", metavar="HOST")
    put.add_argument("port", metavar="PORT", type=int)
    allowed = [one.value for one in TunnelAuthentication]
    put.add_argument("--authentication", action="append", choices=allowed, help="may be said more than once")
    _labels(put)


def _add_sentrys(nouns: Any) -> None:
    put = _resource(
        nouns,
        "sentrys",
        "whom the UEM serves",
        lambda one: {"name": one.name, "subject": one.subject, "push_url": one.push_url},
    )
    put.add_argument("name", metavar="NAME")
    put.add_argument("subject", metavar="SUBJECT", help="of its client certificate: CN=edge,O=Example")
    put.add_argument("--push-url", default="", help="where it takes pushes: https://HOST:9090")


def _add_enrolments(nouns: Any) -> None:
    verbs = nouns.add_parser("enrolments", help="Sentrys' certificates of this UEM").add_subparsers(
        dest="verb", required=True
    )
    verbs.add_parser("list", help="all of them").set_defaults(call=lambda _given: Call("GET", "enrolments", {}))
    opened = verbs.add_parser("open", help="give a token out, by which a Sentry may enrol once; it is shown this once")
    opened.add_argument("name", metavar="NAME", help="of the Sentry, which is added where there is none")
    opened.add_argument("--push-url", default="", help="of an added one: https://HOST:9090")
    opened.add_argument("--hours", type=int, default=0, help="how long the token is good")

    def call(given: argparse.Namespace) -> Call:
        body = {"sentry": given.name, "push_url": given.push_url, "hours": given.hours}
        return Call("POST", "enrolments", {}, msgspec.json.encode(body))

    opened.set_defaults(call=call)
    revoked = verbs.add_parser("revoke", help="let no certificate and no token of a Sentry count any more")
    revoked.add_argument("name", metavar="NAME")
    revoked.set_defaults(call=lambda given: Call("DELETE", "enrolments", {"name": given.name}))


def _resource(
    nouns: Any, noun: str, text: str, body: Callable[[argparse.Namespace], dict[str, Any]], name: str = "name"
) -> argparse.ArgumentParser:
    """`list`, `put` and `delete` of a kind of thing; the parser of `put`."""
    verbs = nouns.add_parser(noun, help=text).add_subparsers(dest="verb", required=True)
    listed = verbs.add_parser("list", help="all of them")
    listed.set_defaults(call=lambda _given: Call("GET", noun, {}))
    gone = verbs.add_parser("delete", help="forget one")
    gone.add_argument("gone", metavar=name.upper())
    gone.set_defaults(call=lambda given: Call("DELETE", noun, {"name": given.gone}))
    put: argparse.ArgumentParser = verbs.add_parser("put", help="add or change one")
    put.set_defaults(call=lambda given: Call("PUT", noun, {}, msgspec.json.encode(body(given))))
    return put


def _labels(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--label", action="append", default=[], help="may be said more than once")


def _add_devices(nouns: Any) -> None:
    verbs = nouns.add_parser("devices", help="a word on a device").add_subparsers(dest="verb", required=True)
    listed = verbs.add_parser("list", help="what is known of all devices, or of one")
    listed.add_argument("device", metavar="DEVICE", nargs="?")

    def add(verb: str, text: str, *, noted: bool = True, **more: Callable[[argparse.Namespace], Any]) -> Any:
        one = verbs.add_parser(verb, help=text)
        one.add_argument("device", metavar="DEVICE", help="its ActiveSync device id")
        one.add_argument("principal", metavar="PRINCIPAL", help="user@domain or user")
        if noted:
            one.add_argument("--note", default="", help="why, for people")

        def call(given: argparse.Namespace) -> Call:
            body = {"device_id": given.device, "principal": given.principal}
            body.update({"note": given.note} if noted else {})
            body.update((name, value(given)) for name, value in more.items())
            return Call("POST", f"devices/{verb}", {}, msgspec.json.encode(body))

        one.set_defaults(call=call)
        return one

    register = add("register", "the device belongs to the principal and may pass", device_type=lambda one: one.type)
    register.add_argument("--type", default="", help="such as iPhone")
    add("allow", "the device may pass, registered or not")
    add("block", "the device may not pass")
    wipe = add("wipe", "the device deletes everything on it", kind=lambda one: "account" if one.account else "device")
    wipe.add_argument("--account-only", dest="account", action="store_true", help="this account's data alone")
    add("cancel-wipe", "take a wipe back that was not acknowledged yet")
    add("remove", "forget the device", noted=False)
    link = add(
        "link",
        "the device is a managed one that is known under another id",
        to_device_id=lambda one: one.to_device,
        to_principal=lambda one: one.to_principal,
    )
    link.add_argument("to_device", metavar="TO-DEVICE")
    link.add_argument("to_principal", metavar="TO-PRINCIPAL")
    add("unlink", "it is not, after all")
    assign = add("assign-policy", "the device must apply this policy", noted=False, policy=lambda one: one.policy)
    assign.add_argument("policy", metavar="POLICY")
    add("revert-policy", "the device must apply what its labels or the default say", noted=False)
    verbs.choices["revert-policy"].set_defaults(call=_revert)
    for verb, holds in (("flag", True), ("clear", False)):
        flag = add(verb, "something is wrong with it" if holds else "and is no longer", noted=False)
        flag.add_argument("cause", choices=sorted(cause.value for cause in CAUSES))
        flag.set_defaults(call=_flag(holds=holds))
    label = add(
        "label", "the device has these labels of its own, and no others", noted=False, labels=lambda one: one.label
    )
    _labels(label)
    _add_report(add("report", "what the device is like", noted=False, posture=_posture))


def _revert(given: argparse.Namespace) -> Call:
    body = {"device_id": given.device, "principal": given.principal, "policy": None}
    return Call("POST", "devices/assign-policy", {}, msgspec.json.encode(body))


def _flag(*, holds: bool) -> Callable[[argparse.Namespace], Call]:
    def call(given: argparse.Namespace) -> Call:
        body = {"device_id": given.device, "principal": given.principal, "cause": given.cause, "holds": holds}
        return Call("POST", "devices/flag", {}, msgspec.json.encode(body))

    return call


def _add_report(report: argparse.ArgumentParser) -> None:
    report.add_argument("--platform", choices=[one.value for one in Platform])
    report.add_argument("--os-version")
    report.add_argument("--compromised", choices=list(_YES))
    report.add_argument("--encrypted", choices=list(_YES))
    report.add_argument("--contact", type=int, default=0, help="when it was heard of last, in seconds since the epoch")


def _posture(given: argparse.Namespace) -> dict[str, Any]:
    said = {"platform": given.platform, "os_version": given.os_version, "contact": given.contact}
    return {**said, "compromised": _YES.get(given.compromised), "encrypted": _YES.get(given.encrypted)}


def _add_sheets(nouns: Any) -> None:
    verbs = nouns.add_parser("sheets", help="CSV out and in").add_subparsers(dest="verb", required=True)
    for verb, text in (("export", "to standard output"), ("import", "a file, whole or not at all")):
        one = verbs.add_parser(verb, help=text)
        one.add_argument("sheet", choices=("users", "labels", "devices"))
        if verb == "import":
            one.add_argument("file", type=Path)
            one.set_defaults(
                call=lambda given: Call("POST", f"sheets/{given.sheet}", {}, given.file.read_bytes(), "text/csv")
            )
        else:
            one.set_defaults(call=lambda given: Call("GET", f"sheets/{given.sheet}", {}))
