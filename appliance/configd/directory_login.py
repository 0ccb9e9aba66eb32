"""Log-in by password: PAM decides on accounts of this appliance, the site's directory on everybody else.

configd dials no directory: the service that does so (`appliance.directory`) says what it found, and its word counts for what the
configuration gives to some group and for no name of an account here. Where no server answers, that is said of every log-in that
fails, so that the answer tells nobody which names are accounts.
"""

import logging
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from appliance.configd import accounts
from appliance.configd.api import Role
from appliance.directory import api as directory_api
from appliance.features.users import RESERVED
from sentry_runtime import control

AT_ONCE = 4  # log-ins that wait for the directory; configd's other threads stay free for everybody else
DECOY = "sentry-nobody"
"""Asked about beside a log-in of which the directory is not to know, so that it fails as all others do, in words and in time.
By its form nobody of the directory (`is_elsewhere`)."""
MARGIN_SECONDS = 5.0  # beside what the servers may take
SILENT = "the directory does not answer; accounts of this appliance log in as always"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")

_log = logging.getLogger(__name__)

Tree = Mapping[str, Any]
Ask = Callable[[directory_api.Prove, float], Any]
"""A question and how many seconds its answer may take, to the answer (the service's `Proof`). Raises `ControlError`."""
LogIn = Callable[[str, str, str], bool]
"""User, source and password to whether PAM lets them in."""


def nobody(_asked: directory_api.Prove, _seconds: float) -> Any:
    """An `Ask` where there is no service."""
    raise control.ControlError("the directory cannot be asked here")


def asker(call: Callable[..., Any], socket: str = directory_api.SOCKET) -> Ask:
    """Asks the service by `call` (`sentry_runtime.control.call`)."""

    def ask(asked: directory_api.Prove, seconds: float) -> Any:
        return call(socket, asked, directory_api.Proof, seconds=seconds)

    return ask


@dataclass(frozen=True, slots=True)
class Proof:
    """Who somebody is: their role (None: nobody), and the directory's server that said so ("": an account of this appliance).
    `silent`: nobody, and the directory could not be asked; `busy`: because too many log-ins wait for it. `credentials` are the
    settings by which the directory was asked, which may be others when it has answered. `words` are for the audit trail."""

    role: Role | None = None
    server: str = ""
    credentials: frozenset[str] = frozenset()
    silent: bool = False
    busy: bool = False
    words: str = ""


class PasswordLogIn:
    """Safe to use from several threads."""

    def __init__(self, login: LogIn, ask: Ask) -> None:
        self._login = login
        self._ask = ask
        self._free = threading.BoundedSemaphore(AT_ONCE)
        self._decoys = threading.BoundedSemaphore(AT_ONCE)  # apart: names of accounts here must keep nobody out
        self._aside = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="directory")

    def prove(self, tree: Tree, user: str, source: str, password: str) -> Proof:
        """Who says to be `user` and comes from `source` with this password, which is neither empty nor has a NUL."""
        directory = accounts.directory(tree)
        role = accounts.roles(tree).get(user)
        if not directory.asked:
            return Proof(role if role is not None and self._login(user, source, password) else None)
        if role is not None:
            words = "account of this appliance"
            silent = self._decoy(directory)
            if self._login(user, source, password):
                return Proof(role, words=words)
            return Proof(silent=silent(), words=words)
        if not is_elsewhere(tree, user):
            return Proof(silent=self._decoy(directory)(), words="no name that the directory is asked about")
        if not self._free.acquire(blocking=False):
            return Proof(silent=True, busy=True, words=f"directory: {AT_ONCE} log-ins wait for it already")
        try:
            return self._prove(directory, user.lower(), password)
        finally:
            self._free.release()

    def _prove(self, directory: accounts.Directory, user: str, password: str) -> Proof:
        said = self._asked(directory, user, password)
        if said is None or said.outcome == "silent":
            return Proof(silent=True, words=f"directory: {said.problem if said else 'its service does not answer'}")
        where = f"directory {said.server}"
        if said.outcome == "proved" and said.role in directory.roles:
            if said.server:  # by which a session is told from one of an account here
                return Proof(said.role, said.server, directory.credentials, words=where)
            return Proof(silent=True, words="directory: its service names no server")
        return Proof(words=f"{where}: {said.problem or 'a role that no group has'}")

    def _decoy(self, directory: accounts.Directory) -> Callable[[], bool]:
        """Ask about the decoy from now on; the result waits for it, and says whether nobody of the directory answers."""
        if not self._decoys.acquire(blocking=False):
            return lambda: True
        asked = self._aside.submit(self._asked, directory, DECOY, DECOY)
        asked.add_done_callback(lambda _asked: self._decoys.release())

        def silent() -> bool:
            said = asked.result()
            return said is None or said.outcome == "silent"

        return silent

    def _asked(self, directory: accounts.Directory, user: str, password: str) -> Any:
        """The service's `Proof`, or None."""
        try:
            return self._ask(directory_api.Prove(user=user, password=password), directory.seconds + MARGIN_SECONDS)
        except control.ControlError as error:
            _log.warning("the directory cannot be asked: %s", error)
            return None


def is_elsewhere(tree: Tree, user: str) -> bool:
    """Whether `user` may be a name of the directory: of its form, and in either case none of an account here or of the system."""
    name = user.lower()
    taken = name in RESERVED or name.startswith(("sentry-", "systemd-", "token:"))
    return _NAME.fullmatch(user) is not None and not taken and name not in accounts.roles(tree)
