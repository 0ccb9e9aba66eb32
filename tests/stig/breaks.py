"""Ways to break a running appliance, each undone when its context ends, whatever happens in between.

Every one takes `root`, which runs a command on the appliance as root: over SSH (`Lab.root`), or in the guest's namespaces.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from images.paths import Layout
from images.run import Done
from tests.appliance.log_sink import Identity, Sink, issued
from tests.lab import Lab

COPIES = "/run/stig-seen-red"
LOG_SERVER, LOG_PORT = "siem.lab.test", 6514
LOG_SECONDS = 90.0  # rsyslog tries a server that was away at most every minute


class Root(Protocol):
    """Runs a command on the appliance as root."""

    def __call__(self, *argv: str, stdin: str | None = None, check: bool = True) -> Done:
        """What it printed; an error where it fails, unless `check` is off."""


@dataclass(frozen=True, slots=True)
class Break:
    """The rules that are open while it lasts, and how it is done and undone."""

    rules: frozenset[str]
    how: Callable[[Root], AbstractContextManager[None]]


def broken(rules: Iterable[str], how: Callable[..., AbstractContextManager[None]], *words: Any) -> Break:
    """A row of a table of breaks: `how` is one of the functions below, `words` what it takes beside `root`."""
    return Break(frozenset(rules), lambda root: how(root, *words))


@contextmanager
def kept(root: Root, path: str) -> Iterator[None]:
    """The file, folder or link, or that there is none, as it was; a link as a link."""
    copy = f"{COPIES}/{path.replace('/', '_')}"
    root("install", "-d", "-m", "0700", COPIES)
    there = any(root("test", sign, path, check=False).code == 0 for sign in ("-e", "-L"))
    if there:
        root("cp", "-aT", path, copy)
    try:
        yield
    finally:
        root("rm", "-rf", path)
        if there:
            root("mv", "-T", copy, path)


@contextmanager
def edited(root: Root, path: str, expression: str, then: tuple[str, ...] = ()) -> Iterator[None]:
    """The file changed by sed, which must find something to change; `then` makes the daemon read it, both times."""
    copy = f"{COPIES}/{path.replace('/', '_')}"
    root("install", "-d", "-m", "0700", COPIES)
    root("cp", "-a", path, copy)
    try:
        root("sed", "-i", expression, path)
        assert root("cmp", "-s", copy, path, check=False).code != 0, f"{path} was not changed"
        if then:
            root(*then)
        yield
    finally:
        root("mv", "-f", copy, path)
        if then:
            root(*then)


@contextmanager
def put(root: Root, path: str, text: str, mode: str = "0644", then: tuple[str, ...] = ()) -> Iterator[None]:
    """The file with this text, in place of whatever is there; `then` makes the daemon read it, both times."""
    try:
        with kept(root, path):
            root("rm", "-rf", path)
            root("mkdir", "-p", str(Path(path).parent))
            root("tee", path, stdin=text)
            root("chmod", mode, path)
            if then:
                root(*then)
            yield
    finally:
        if then:
            root(*then)


@contextmanager
def away(root: Root, path: str) -> Iterator[None]:
    """The file is not there."""
    with kept(root, path):
        root("rm", "-r", path)
        yield


@contextmanager
def open_to_all(root: Root, path: str, mode: str) -> Iterator[None]:
    """One file or folder with another mode."""
    before = root("stat", "-c", "%a", path).stdout.strip()
    root("chmod", mode, path)
    try:
        yield
    finally:
        root("chmod", before, path)


@contextmanager
def disabled(root: Root, unit: str) -> Iterator[None]:
    """A unit that the next start of the machine would not start: its links are gone. Not by systemctl, which for a service with
    a script of SysV's has systemd reloaded, and that forgets a running unit whose alias is gone."""
    links = root("find", "/etc/systemd/system", "-type", "l", "-lname", f"*/{unit}").stdout.split()
    assert links, f"{unit} is not enabled"
    with ExitStack() as held:
        for path in links:
            held.enter_context(away(root, path))
        yield


@contextmanager
def done(root: Root, argv: tuple[str, ...], undo: tuple[str, ...]) -> Iterator[None]:
    """A command, and the one that takes it back."""
    try:
        root(*argv)
        yield
    finally:
        root(*undo)


@contextmanager
def running(root: Root, unit: str, *argv: str) -> Iterator[None]:
    """A program that runs meanwhile."""
    root("systemd-run", "--quiet", "--collect", f"--unit={unit}", *argv)
    try:
        yield
    finally:
        root("systemctl", "stop", unit)


@contextmanager
def stranger(root: Root) -> Iterator[None]:
    """An account nobody has authorised."""
    root("useradd", "--no-create-home", "--shell", "/bin/sh", "mallory")
    try:
        yield
    finally:
        root("userdel", "mallory")


@contextmanager
def filtered(root: Root, chain: str, *words: str) -> Iterator[None]:
    """One more rule at the head of a chain of the packet filter."""
    said = root("nft", "-a", "-e", "insert", "rule", "inet", "sentry", chain, *words).stdout
    handle = re.findall(r"# handle (\d+)", said)[-1]
    try:
        yield
    finally:
        root("nft", "delete", "rule", "inet", "sentry", chain, "handle", handle)


@contextmanager
def committed(lab: Lab, *settings: str) -> Iterator[None]:
    """Settings committed by an administrator, and the revision before them afterwards."""
    enter = ("enable", lab.enable_secret)
    kept_ones = json.loads(lab.cli(*enter, "show revisions | json").stdout)["rows"]
    number = next(row["revision"] for row in kept_ones if row["current"] == "*")
    lab.cli(*enter, "configure terminal", *settings, "commit")
    try:
        yield
    finally:
        lab.cli(*enter, "configure terminal", f"rollback {number}")


@contextmanager
def log_server(lab: Lab, layout: Layout, folder: Path) -> Iterator[None]:
    """The log server of sites/lab.yml, which has all that was written for it, and a record of the gateway's among that."""
    peer = lab.addresses.management.rsplit(".", 1)[0] + ".1"
    authority = Identity(layout.lab / "backend-ca.pem", layout.lab / "backend-ca.key")
    with Sink(peer, LOG_PORT).shows(issued(folder, authority, LOG_SERVER)) as sink:
        lab.http().get(f"{lab.gateway_url}/health", timeout=10)
        sink.wait_for([" sentry-audit "], seconds=LOG_SECONDS)
        _drained(lab)
        yield


def _drained(lab: Lab) -> None:
    """Wait until the log server has all; it may be as long as it likes while the lines that wait become fewer."""
    fewest, deadline = None, time.monotonic() + LOG_SECONDS
    while (found := _log_state(lab)) != ("connected", 0):
        state, waiting = found
        if state in ("connected", "catching up") and (fewest is None or waiting < fewest):
            fewest, deadline = waiting, time.monotonic() + LOG_SECONDS
        assert time.monotonic() < deadline, found
        time.sleep(1)


def _log_state(lab: Lab) -> tuple[str, int]:
    (row,) = json.loads(lab.cli("show syslog | json").stdout)["rows"]
    return row["state"], int(row["waiting"])
