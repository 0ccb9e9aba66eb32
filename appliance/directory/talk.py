"""The talk with one server of a directory (LDAP version 3, RFC 4511): over TLS that is checked strictly, or not at all.

The protocol is ldap3's (Debian's python3-ldap3): Python, so that what a server sends is read by no C but OpenSSL's, and TLS by a
context of Python's `ssl`, as everywhere here. Referrals are never followed: they would lead away from who was checked.
"""

import contextlib
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import ldap3
from ldap3.core.exceptions import LDAPExceptionError
from ldap3.core.results import (
    RESULT_ADMIN_LIMIT_EXCEEDED,
    RESULT_AUTH_METHOD_NOT_SUPPORTED,
    RESULT_BUSY,
    RESULT_CODES,
    RESULT_CONFIDENTIALITY_REQUIRED,
    RESULT_INVALID_CREDENTIALS,
    RESULT_LOOP_DETECTED,
    RESULT_NO_SUCH_OBJECT,
    RESULT_OPERATIONS_ERROR,
    RESULT_OTHER,
    RESULT_PROTOCOL_ERROR,
    RESULT_REFERRAL,
    RESULT_SASL_BIND_IN_PROGRESS,
    RESULT_SIZE_LIMIT_EXCEEDED,
    RESULT_STRONGER_AUTH_REQUIRED,
    RESULT_SUCCESS,
    RESULT_TIME_LIMIT_EXCEEDED,
    RESULT_UNAVAILABLE,
    RESULT_UNAVAILABLE_CRITICAL_EXTENSION,
)

from appliance.client_tls import client_context
from appliance.directory import filters, password_policy
from appliance.directory.api import Proof
from appliance.directory.bounds import BoundedSocket, Bounds, seconds_of
from appliance.directory.failing import AccountRefusedError, DirectoryError
from appliance.directory.names import Names
from appliance.directory.settings import Server, Settings

MOST_ENTRIES = 2  # one is a person, two are nobody in particular
# Results that speak of the server and not of who asks (RFC 4511 A). Every other one refuses the person, one that the standard has
# not, too: servers differ in what they say of a password that is wrong, locked or ended, and the next server must not be shown it
# again for a word unknown here. There it would be one more failure, and the directory locks people after a few.
_OF_THE_SERVER = frozenset(
    (
        RESULT_OPERATIONS_ERROR,
        RESULT_PROTOCOL_ERROR,
        RESULT_TIME_LIMIT_EXCEEDED,
        RESULT_AUTH_METHOD_NOT_SUPPORTED,
        RESULT_STRONGER_AUTH_REQUIRED,
        RESULT_REFERRAL,
        RESULT_ADMIN_LIMIT_EXCEEDED,
        RESULT_UNAVAILABLE_CRITICAL_EXTENSION,
        RESULT_CONFIDENTIALITY_REQUIRED,
        RESULT_SASL_BIND_IN_PROGRESS,
        RESULT_BUSY,
        RESULT_UNAVAILABLE,
        RESULT_LOOP_DETECTED,
        RESULT_OTHER,
    )
)


class _SearchRefusedError(DirectoryError):
    """A search is not for whoever is bound."""


class _Checked(ldap3.Tls):
    """TLS by a context of ours. ldap3's own turns the context's check of the name off, and compares names by itself."""

    def __init__(self, context: ssl.SSLContext, host: str, bounds: Bounds, seconds: float) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context = context
        self._host = host
        self._bounds = bounds
        self._seconds = seconds

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - ldap3's own words
        """Called by ldap3 for both ways, always with the handshake."""
        self.bound(connection)
        connection.socket.secure(self._context, self._host)

    def bound(self, connection: Any) -> None:
        """Have a connection's socket keep the talk's bounds."""
        if not isinstance(connection.socket, BoundedSocket):
            connection.socket = BoundedSocket(connection.socket, self._bounds, self._seconds)


def look(
    settings: Settings, server: Server, secret: str, bounds: Bounds | None = None, names: Names | None = None
) -> None:
    """Raise `DirectoryError` unless `server` can be asked; `secret` is the password of the appliance's account. `bounds`: of the
    talk, those of every one if there are none here. `names`: where servers are, shared by talks at one time."""
    with _connected(settings, server, names or Names(), bounds or Bounds(seconds_of(settings))) as connection:
        if settings.bind == "account":
            _bind_account(connection, settings, secret)
            _there(connection, settings.base)
            for group in settings.groups:
                _there(connection, group.dn)


def prove(
    settings: Settings,
    server: Server,
    secret: str,
    user: str,
    password: str,
    bounds: Bounds | None = None,
    names: Names | None = None,
) -> Proof:
    """What `server` says of `user` and their `password`, as in `look`. Raises `DirectoryError` where it says nothing."""
    bounds, names = bounds or Bounds(seconds_of(settings)), names or Names()
    name = f"{server.host}:{server.port}"
    with _connected(settings, server, names, bounds) as connection:
        if settings.bind == "user":
            return _prove_by_themselves(connection, settings, name, user, password)
        _bind_account(connection, settings, secret)
        found = _search(connection, settings.base, ldap3.SUBTREE, filters.person(settings, user))
        if len(found) != 1:
            problem = "the directory has no such person" if not found else "the directory has several of this name"
            return Proof(outcome="refused", server=name, problem=problem)
        # Before the password: who may do nothing here has none tried, so that this is no place to guess them or to lock people.
        said = _role(connection, settings, name, found[0])
        if said.role is None:
            return said
        # Over a connection of its own: the account's stays the account's.
        with _connected(settings, server, names, bounds) as theirs:
            problem = _refusal(theirs, found[0], password)
        return Proof(outcome="refused", server=name, problem=problem) if problem else said


def _prove_by_themselves(
    connection: ldap3.Connection, settings: Settings, server: str, user: str, password: str
) -> Proof:
    """The same where the person asks for their own groups."""
    entry = filters.place(settings, user)
    problem = _refusal(connection, entry, password)
    if problem:
        return Proof(outcome="refused", server=server, problem=problem)
    try:
        return _role(connection, settings, server, entry)
    except _SearchRefusedError as error:  # as servers do to whose password is to be changed first
        return Proof(outcome="refused", server=server, problem=str(error))


def _role(connection: ldap3.Connection, settings: Settings, server: str, entry: str) -> Proof:
    """The role of the first group that has `entry`."""
    for group in settings.groups:
        if _search(connection, group.dn, ldap3.BASE, filters.member(settings, entry)):
            return Proof(outcome="proved", role=group.role, server=server)
    return Proof(outcome="refused", server=server, problem="in none of the groups that have a role here")


# --- the protocol ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _connected(settings: Settings, server: Server, names: Names, bounds: Bounds) -> Iterator[ldap3.Connection]:
    """A connection over TLS that nobody is bound to. Whatever breaks it meanwhile is a `DirectoryError`."""
    tls = _Checked(client_context(settings, DirectoryError), server.host, bounds, settings.timeout_seconds)
    with contextlib.ExitStack() as ending:
        try:
            connection = _opened(settings, server, names, tls, bounds, ending)
            tls.bound(connection)
            if settings.security == "starttls":
                connection.start_tls(read_server_info=False)
            if not connection.socket.under_tls:
                raise DirectoryError("the connection is not under TLS")
            yield connection
        except DirectoryError:
            raise
        # All there is: ldap3 decodes what a server sends without looking first, and what then fails is any of Python's own errors
        # (of deep nesting a RecursionError). A server must not choose one that keeps the next server from being asked.
        except Exception as error:
            raise DirectoryError(_words(error)) from error


def _opened(
    settings: Settings, server: Server, names: Names, tls: _Checked, bounds: Bounds, ending: contextlib.ExitStack
) -> ldap3.Connection:
    """A connection to the first address that takes one; all that were tried are closed with `ending`. ldap3 is given addresses
    alone: it would look a name up by itself, for as long as that takes. Raises the last one's error."""
    *others, last = names.addresses(server.host, bounds.patience(settings.timeout_seconds))
    for address in others:
        with contextlib.suppress(LDAPExceptionError):
            return _dialled(settings, address, server.port, tls, bounds, ending)
    return _dialled(settings, last, server.port, tls, bounds, ending)


def _dialled(
    settings: Settings, address: str, port: int, tls: _Checked, bounds: Bounds, ending: contextlib.ExitStack
) -> ldap3.Connection:
    made = ldap3.Server(
        address,
        port,
        use_ssl=settings.security == "ldaps",
        tls=tls,
        get_info=ldap3.NONE,
        connect_timeout=bounds.patience(settings.timeout_seconds),
    )
    connection = ldap3.Connection(
        made,
        auto_bind=ldap3.AUTO_BIND_NONE,
        authentication=ldap3.ANONYMOUS,
        client_strategy=ldap3.SYNC,
        auto_referrals=False,
        auto_escape=False,
        check_names=False,
        read_only=True,
        raise_exceptions=False,
        receive_timeout=settings.timeout_seconds,
    )
    ending.callback(_end, connection)
    connection.open(read_server_info=False)
    return connection


def _end(connection: ldap3.Connection) -> None:
    with contextlib.suppress(Exception):
        connection.unbind()
    if connection.socket is not None:  # the library leaves one open that could not be connected
        connection.socket.close()


def _bind(
    connection: ldap3.Connection, name: str, password: str, controls: list[tuple[str, bool, None]] | None = None
) -> int:
    """Bind by name and password (RFC 4513 5.1.3), and what the server says. Never with an empty password, which would prove
    nothing and succeed (5.1.2); given as octets, of which the library leaves none out."""
    octets = password.encode()
    if not (name and octets):
        return int(RESULT_INVALID_CREDENTIALS)
    connection.user, connection.password, connection.authentication = name, octets, ldap3.SIMPLE
    try:
        return _outcome(connection, lambda: connection.bind(read_server_info=False, controls=controls))
    finally:
        connection.password = None


def _outcome(connection: ldap3.Connection, ask: Callable[[], object]) -> int:
    """The result of what is asked. Of one that the standard has not, ldap3 says no more than that it lacks the number (a
    `KeyError`): it is the server's word all the same, and nobody's success."""
    try:
        ask()
    except KeyError as error:
        (code,) = error.args
        if not isinstance(code, int) or code in RESULT_CODES:
            raise
        connection.result = {"result": code, "description": f"result {code}, which is none of the standard's"}
    return int(connection.result["result"])


def _bind_account(connection: ldap3.Connection, settings: Settings, secret: str) -> None:
    said = _bind(connection, settings.account, secret)
    if said in _OF_THE_SERVER:
        raise DirectoryError(f"it does not take the appliance's own account: {_said(connection)}")
    if said != RESULT_SUCCESS:
        raise AccountRefusedError(f"it refuses the appliance's own account: {_said(connection)}")


def _refusal(connection: ldap3.Connection, entry: str, password: str) -> str:
    """Why the person of `entry` is not let in by this password; "" where they are. Raises `DirectoryError` where the server does
    not say."""
    said = _bind(connection, entry, password, [password_policy.REQUEST])
    if said in _OF_THE_SERVER:
        raise DirectoryError(f"it does not say whether a password is right: {_said(connection)}")
    if said != RESULT_SUCCESS:
        return "the directory refuses the password"
    held = password_policy.held_against(connection.result.get("controls") or {})
    return held and f"the directory {held}"


def _search(connection: ldap3.Connection, base: str, scope: Any, wanted: str) -> list[str]:
    """The names of the entries that pass, none where there is no `base`. Raises `DirectoryError`."""
    said = _outcome(
        connection,
        lambda: connection.search(
            base,
            wanted,
            scope,
            dereference_aliases=ldap3.DEREF_NEVER,
            attributes=[ldap3.NO_ATTRIBUTES],
            size_limit=MOST_ENTRIES,
        ),
    )
    if said not in (RESULT_SUCCESS, RESULT_SIZE_LIMIT_EXCEEDED, RESULT_NO_SUCH_OBJECT):
        words = f"it does not answer a search: {_said(connection)}"
        raise DirectoryError(words) if said in _OF_THE_SERVER else _SearchRefusedError(words)
    return [one["dn"] for one in connection.response or () if one["type"] == "searchResEntry"]


def _there(connection: ldap3.Connection, place: str) -> None:
    if not _search(connection, place, ldap3.BASE, filters.EVERY_ENTRY):
        raise DirectoryError(f"it has no {place}, or does not show it to the appliance's own account")


def _said(connection: ldap3.Connection) -> str:
    """The result in the standard's word; what else a server says may be anything."""
    return str(connection.result.get("description", "nothing that is known"))


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
