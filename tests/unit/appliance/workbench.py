"""A small appliance for tests of the engine: two features, a folder as its file system, systemd as a table.

The files are real files; only commands are answered by `Commands`, which can be told to fail.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from appliance import process
from appliance.apply import Engine, Order
from appliance.audit import Entry
from appliance.backup.keeping import Folder
from appliance.config.diff import digest
from appliance.config.schema import Schema
from appliance.config.secrets import Secrets
from appliance.config.store import Store
from appliance.configd.ages import Aging
from appliance.configd.api import Committed, OpenSession, Reply, Session
from appliance.configd.attempts import Attempts
from appliance.configd.capturing import Capturing
from appliance.configd.client import Refused
from appliance.configd.directory_login import asker as directory_asker
from appliance.configd.examining import asker, examiner
from appliance.configd.facts import Context
from appliance.configd.following import Following
from appliance.configd.gate import Doors, Gate
from appliance.configd.sessions import Peer, Sessions
from appliance.configd.support import Support
from appliance.configd.tokens import Tokens
from appliance.configd.verbs_impl import Actions
from appliance.configd.watch import Watch
from appliance.features import certificate_login
from appliance.features.base import Check, Feature, File, Flow, Problem, System, Tree, Unit
from appliance.process import NOT_STARTED, CommandError, Finished
from appliance.software.spool import Spool
from appliance.support.records import Records
from appliance.support.shelf import Shelf
from appliance.system import Appliance, Boot
from sentry_runtime import control
from sentry_runtime.settings import Paths

WEB = "/etc/web/web.conf"
KEY = "/etc/web/key"


class Crash(BaseException):
    """kill -9: nothing that catches errors may catch it."""


@dataclass
class Commands:
    """Answers commands: `systemctl` from `units`, `hostname` sets the kernel's name, `webd -t` refuses the word `nonsense`."""

    root: Path
    log: list[list[str]] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=lambda: {"web.service": "active"})
    failing: set[str] = field(default_factory=set)
    dies_after: set[str] = field(default_factory=set)
    """Units that are `failed` once they were acted on."""
    follows: dict[str, Callable[[], None]] = field(default_factory=dict)
    """What comes of an order to systemd, by its words."""

    def __call__(self, argv: list[str], *, stdin: str | None = None, **_seconds: float) -> str:
        self.log.append(argv)
        if argv[0] in self.failing or " ".join(argv[:2]) in self.failing:
            raise CommandError(argv, 1, f"{argv[0]} is told to fail")
        answers = getattr(self, f"_{argv[0]}", None)
        if answers is None:
            raise CommandError(argv, NOT_STARTED, "No such file or directory")
        answer: str = answers(argv, stdin)
        return answer

    def _systemctl(self, argv: list[str], _stdin: str | None) -> str:
        names = argv[argv.index("--") + 1 :] if "--" in argv else argv[-1:]
        if argv[1] == "show":
            return "\n".join(self._shown(name) for name in names)
        if argv[1] == "list-units":
            return ""
        if argv[1] != "daemon-reload":
            self.units |= {name: "failed" if name in self.dies_after else "active" for name in names}
            self.follows.get(" ".join(argv[1:]), lambda: None)()
        return ""

    def _shown(self, name: str) -> str:
        # Of a unit that was never started systemd says that its conditions do not hold: nobody has looked.
        known = name in self.units
        state, enabled, condition = (self.units[name], "enabled", "yes") if known else ("inactive", "", "no")
        return f"ActiveState={state}\nType=notify\nUnitFileState={enabled}\nConditionResult={condition}\n"

    def _journalctl(self, argv: list[str], _stdin: str | None) -> str:
        return "web: line 7: no such word\n" if argv[-1] == "_SYSTEMD_UNIT=web.service" else ""

    def _tail(self, argv: list[str], _stdin: str | None) -> str:
        place = self.root / argv[-1].lstrip("/")
        return place.read_text() if place.exists() else ""

    def _webd(self, argv: list[str], _stdin: str | None) -> str:
        if "nonsense" in Path(argv[-1]).read_text():
            raise CommandError(argv, 1, f"{argv[-1]}: line 1: a bad word")
        return ""

    def _hostname(self, argv: list[str], _stdin: str | None) -> str:
        (self.root / "kernel-name").write_text(argv[1])
        return ""

    def _pwscore(self, _argv: list[str], stdin: str | None) -> str:
        if len((stdin or "").strip()) < 15:
            raise CommandError(
                ["pwscore"], 1, "Password quality check failed:\n The password is shorter than 15 characters"
            )
        return "100\n"

    @property
    def kernel_name(self) -> str:
        """What `hostname` set last."""
        return (self.root / "kernel-name").read_text()

    def acted(self) -> list[str]:
        """What systemd was asked to do, without the questions."""
        return [" ".join(argv[1:]) for argv in self.log if argv[0] == "systemctl" and argv[1] != "show"]

    def listen(self, *ports: int) -> None:
        """Fill /proc/net/tcp."""
        place = self.root / "proc/net/tcp"
        place.parent.mkdir(parents=True, exist_ok=True)
        rows = [f"   {n}: 00000000:{port:04X} 00000000:0000 0A 00000000" for n, port in enumerate(ports)]
        place.write_text("\n".join(["  sl  local_address rem_address   st", *rows, ""]))


def _render_web(tree: Tree) -> Mapping[str, File]:
    web = tree["web"]
    files = {WEB: File(f"port {web['port']}\nwords {' '.join(web['words'])}\ntoken {web['token']}\n", mode=0o640)}
    for name, site in web["sites"].items():
        files[f"/etc/web/sites/{name}"] = File(f"root {site['root']}\n")
    return files


def _verify_web(tree: Tree) -> tuple[Problem, ...]:
    clash = tree["web"]["port"] == 22
    return (Problem("web.port", "22, which is SSH's", "a port of its own"),) if clash else ()


def _name_kernel(tree: Tree, system: System) -> bool:
    """Keeps the kernel's name in step; it is read back from the file `Commands` keeps it in."""
    if system.read("/kernel-name") == tree["name"]:
        return False
    system.run(["hostname", tree["name"]])
    return True


NAME = Feature(
    name="name",
    label="Host name",
    schema={"type": "string", "regex": "[a-z]{1,8}", "meta": {"label": "Name", "allowed": "1 to 8 lower-case letters"}},
    render=lambda tree: {"/etc/name": File(f"{tree['name']}\n")},
    reconcile=_name_kernel,
)
USERS = Feature(
    name="users",
    label="Administrators",
    default={},
    schema={
        "type": "dict",
        "schema": {
            "accounts": {
                "type": "dict",
                "default": {},
                "keysrules": {"type": "string", "regex": "[a-z]{1,16}"},
                "valuesrules": {
                    "type": "dict",
                    "schema": {
                        "role": {
                            "type": "string",
                            "allowed": ["administrator", "operator", "auditor"],
                            "required": True,
                        },
                        "password_hash": {"type": "string", "meta": {"secret": True}},
                        "edipi": {"type": "string"},
                        "certificate": {"type": "string"},
                    },
                },
            }
        },
    },
)
CLI = Feature(
    name="cli",
    label="CLI",
    default={},
    schema={
        "type": "dict",
        "schema": {
            "idle_minutes": {"type": "integer", "min": 1, "max": 60, "default": 10},
            "enable_secret_hash": {"type": "string", "meta": {"secret": True}},
        },
    },
)
SSH = Feature(
    name="ssh",
    label="SSH",
    default={},
    schema={"type": "dict", "schema": {"max_sessions": {"type": "integer", "min": 1, "max": 10, "default": 3}}},
)
WEB_FEATURE = Feature(
    name="web",
    label="Web server",
    default={},
    schema={
        "type": "dict",
        "schema": {
            "port": {
                "type": "integer",
                "min": 1,
                "max": 65535,
                "default": 8443,
                "meta": {"label": "Port", "help": "TCP."},
            },
            "on": {"type": "boolean", "default": True},
            "words": {"type": "list", "schema": {"type": "string", "maxlength": 8}, "maxlength": 3, "default": []},
            "token": {"type": "string", "minlength": 4, "default": "none", "meta": {"label": "Token", "secret": True}},
            "sites": {
                "type": "dict",
                "default": {},
                "keysrules": {"type": "string", "regex": "[a-z]+"},
                "valuesrules": {
                    "type": "dict",
                    "schema": {
                        "root": {"type": "string", "required": True},
                        "level": {"type": "integer", "default": 1},
                    },
                },
            },
        },
    },
    verify=_verify_web,
    render=_render_web,
    flows=lambda tree: (Flow("portal", "in", "tcp", tree["web"]["port"]),),
    checks=(Check(("webd", "-t", f"{{{WEB}}}"), needs=(WEB,)),),
    units=(Unit("web.service", "reload", (WEB,)),),
)
FEATURES = (NAME, USERS, CLI, SSH, WEB_FEATURE)
PORTAL_FEATURE = Feature(
    name="portal",
    label="Portal",
    default={},
    schema={
        "type": "dict",
        "schema": {"certificate_login": {**certificate_login.CERTIFICATE_LOGIN, "default": {}}},
    },
    verify=certificate_login.verify,
    render=certificate_login.files,
)
"""The appliance's own log-in by certificate; not among the features above, so that their tests stay small."""


@dataclass
class Clock:
    """A clock that moves when told."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Uptime(Boot):
    """How long the machine has been up, by the bench's clock; `jumped` is how far somebody has set that clock since."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.jumped = clock.now - 1_000.0
        self.start = "first"

    def seconds(self) -> float:
        return self._clock.now - self.jumped

    def name(self) -> str:
        return self.start


@dataclass
class Ledger:
    """An audit that keeps its entries."""

    entries: list[Entry] = field(default_factory=list)

    def write(self, entry: Entry) -> None:
        self.entries.append(entry)


class Bench:
    """An engine over `folder`; `restart` is what a crash and a new configd make of it."""

    def __init__(self, folder: Path, features: tuple[Feature, ...] = FEATURES) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.root.mkdir(parents=True, exist_ok=True)
        self.features = features
        self.commands = Commands(self.root)
        self.clock = Clock()
        self.boot = Uptime(self.clock)
        self.crash_at: str | None = None
        self.steps: list[str] = []
        self.restart()

    def restart(self) -> str | None:
        """A new engine over what is on disk; returns what recovery says."""
        self.schema = Schema(self.features)
        self.vault = Secrets(self.folder / "secrets")
        self.store = Store(self.folder / "config", complete=self.schema.fill)
        self.machine = Appliance(
            self.vault.reveal,
            root=self.root,
            run=self.commands,
            owners=False,
            sleep=self.clock.sleep,
            clock=self.clock,
        )
        self.engine = Engine(
            self.schema,
            self.store,
            self.vault,
            self.machine,
            staging=self.folder / "config/staging",
            wall_clock=self.clock,
            checkpoint=self._checkpoint,
            boot=self.boot,
        )
        return self.engine.recover()

    def set_clock(self, seconds: float) -> None:
        """Somebody sets the clock of the machine forward, or back."""
        self.clock.now += seconds
        self.boot.jumped += seconds

    def power_cut(self, *, clock: float = 0.0) -> str | None:
        """The machine starts anew, and so does configd; its clock is off by so many seconds then."""
        self.set_clock(clock)
        self.boot.start += "+"
        self.boot.jumped = self.clock.now - 20.0
        return self.restart()

    def _checkpoint(self, step: str) -> None:
        self.steps.append(step)
        if step == self.crash_at:
            raise Crash(step)

    def order(self, tree: object, **rest: Any) -> Order:
        """An order based on what runs now."""
        return Order(tree=tree, base=self.store.digest(), user="tester", **rest)

    def commit(self, tree: object, **rest: Any) -> Committed:
        """Commit `tree`."""
        return self.engine.commit(self.order(tree, **rest))

    def text(self, path: str) -> str | None:
        """The file at `path` of the small appliance."""
        return self.machine.read(path)

    def files(self) -> dict[str, tuple[str, int]]:
        """Everything below /etc: text and mode."""
        places = [place for place in (self.root / "etc").rglob("*") if place.is_file()]
        return {
            f"/{place.relative_to(self.root)}": (place.read_text(), place.stat().st_mode & 0o7777) for place in places
        }

    def running(self) -> dict[str, Any]:
        """The running tree; empty before the first commit."""
        current = self.store.current()
        return current.tree if current else {}

    def digest(self) -> str:
        """Of the running tree."""
        return digest(self.running())


ACCOUNTS = {
    "alice": {"role": "administrator"},
    "olga": {"role": "operator"},
    "albert": {"role": "auditor"},
}
ROOT, PORTAL, ALERTS, PROXY, SCANNER, ALICE, OLGA, ALBERT, STRANGER = 0, 900, 901, 902, 903, 1001, 1002, 1003, 1099
NAMES = {
    ROOT: "root",
    PORTAL: "sentry-portal",
    PROXY: "sentry-tls-proxy",
    ALERTS: "sentry-alerts",
    SCANNER: "sentry-stig",
    ALICE: "alice",
    OLGA: "olga",
    ALBERT: "albert",
    STRANGER: "mallory",
}
PASSWORDS = {
    "alice": "Alice-Secret-12345",
    "olga": "Olga-Secret-123456",
    "albert": "Albert-Secret-1234",
    "mallory": "Mallory-Secret-123",
}


class Daemon(Bench):
    """configd without a socket: the gate and what stands behind it. Peers are whoever the test says."""

    def restart(self) -> str | None:
        """See `Bench.restart`."""
        said = super().restart()
        self.ledger = Ledger()
        self.ticks = Clock(0.0)
        self.sessions = Sessions(clock=self.ticks)
        self.engine.in_use = self.sessions.candidates
        self.asked: list[Any] = []
        self.told: dict[type, Any] = {}
        """What the data plane answers, by the request's type."""
        self.reached: set[str] = set()
        """Sockets at which somebody answers really."""
        self.directory_socket = self.folder / "directory.sock"
        self.backups = Folder(self.folder / "backups")
        self.software = Spool(self.folder / "software")
        self.shelf = Shelf(self.folder / "support", clock=self.clock)
        self.records = Records(self.folder / "hung", clock=self.clock)
        self.aging = Aging(self.store)
        support = Support(self.engine, self.shelf, self.context, clock=self.ticks)
        self.capturing = Capturing(self.engine, self.shelf, root=self.root, clock=self.clock)
        self.actions = Actions(
            self.engine,
            self.sessions,
            context=self.context,
            aging=self.aging,
            backups=self.backups,
            software=self.software,
            support=support,
            capturing=self.capturing,
            following=Following(
                self.commands,
                lambda: {held.handle for held in self.sessions.all()},
                root=self.root,
                clock=self.ticks,
            ),
            call=self._call,
        )
        self.gate = Gate(
            self.actions,
            self.sessions,
            self.ledger,
            Doors(
                name_of=NAMES.get,
                portal_uid=lambda: PORTAL,
                alerts_uid=lambda: ALERTS,
                scanner_uid=lambda: SCANNER,
                proxy_uid=lambda: PROXY,
                examine=examiner(
                    process.attempt,
                    authorities=f"{self.root}{certificate_login.AUTHORITIES}",
                    lists=f"{self.root}{certificate_login.LISTS}",
                ),
                standing=asker(self._call, "agent.sock"),
                directory=directory_asker(self._call, str(self.directory_socket)),
                login=lambda user, _source, word: PASSWORDS.get(user) == word,
            ),
            reveal=self.vault.reveal,
            tokens=Tokens(self.root / "var/lib/sentry/tokens", clock=self.clock),
            attempts=lambda: Attempts(clock=self.ticks),
            wall_clock=self.clock,
            clock=self.ticks,
            sleep=self.ticks.sleep,
        )
        self.watch = Watch(self.engine, self.gate, self.sessions, clock=self.ticks)
        return said

    def _call(self, path: str, request: Any, result_type: Any = Any, **rest: Any) -> Any:
        self.asked.append((path, request))
        if path in self.reached:
            return control.call(path, request, result_type, **rest)
        return self.told.get(type(request), 0 if result_type is int else None)

    def context(self) -> Context:
        """What `show` is answered from; commands are answered by `commands`."""

        def attempt(argv: list[str]) -> Finished:
            try:
                return Finished(0, self.commands(argv), "")
            except CommandError as error:
                return Finished(error.status, "", error.output)

        return Context(
            system=self.machine,
            attempt=attempt,
            call=self._call,
            paths=Paths(),
            schema=self.schema,
            running=self.store.current(),
            pending=self.store.pending(),
            revisions=self.store.revisions(),
            sessions=self.sessions.all(),
            now=self.clock(),
            monotonic=self.ticks(),
            backups=self.backups,
            shelf=self.shelf,
            records=self.records,
            ages=self.aging.known(self.running(), self.clock()),
        )

    def say(self, peer: Peer, verb: Any, result_type: Any = Any) -> Any:
        """One message through the gate; raises `Refused` as a client would."""
        reply = msgspec.json.decode(self.gate.answer(peer, msgspec.json.encode(verb) + b"\n").line, type=Reply)
        if reply.refusal is not None:
            raise Refused(reply.refusal)
        return msgspec.json.decode(reply.result, type=result_type)

    def open(self, uid: int, connection: int = 1) -> tuple[Peer, Session]:
        """A session for the account `uid`."""
        peer = Peer(uid=uid, pid=1, connection=connection)
        return peer, self.say(peer, OpenSession(source="192.0.2.7"), Session)
