"""Who asks for what, and when that cannot be said."""

import base64
import struct

import pytest

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.eas.principal import Names
from sentry_runtime.gateway.badge import Badge
from sentry_runtime.gateway.credentials import Access, Credentials, Logon, Scheme, Step
from sentry_runtime.gateway.head import Head, HeadError, parse
from sentry_runtime.gateway.identify import Claim, DeniedError, Service, authenticated, memo_key, nobody, service
from sentry_runtime.gateway.identify import identify as identify_by

QUERY = "Cmd=Ping&User=anna&DeviceId=abc&DeviceType=iPhone"


SITE = Access(names=Names({"lab": "lab.test"}, "lab.test"))


def identify(head: Head) -> Claim:
    """By what a site has that says nothing."""
    return identify_by(head, Access())


def basic(pair: bytes) -> str:
    """A Basic header of these bytes."""
    return "Authorization: Basic " + base64.b64encode(pair).decode()


def head(*lines: str, method: str = "POST", path: str = "/Microsoft-Server-ActiveSync", query: str = QUERY) -> Head:
    """A head."""
    target = f"{path}?{query}" if query else path
    return parse("\r\n".join([f"{method} {target} HTTP/1.1", "Host: a", *lines, "", ""]).encode("latin-1"))


@pytest.mark.parametrize(
    ("method", "path", "leads_to"),
    [
        ("POST", "/Microsoft-Server-ActiveSync", Service.ACTIVESYNC),
        ("OPTIONS", "/MICROSOFT-SERVER-ACTIVESYNC/default.eas", Service.ACTIVESYNC),
        ("POST", "/AutoDiscover/autodiscover.XML", Service.AUTODISCOVER_XML),
        ("GET", "/autodiscover/Autodiscover.json", Service.AUTODISCOVER_JSON),
        ("GET", "/autodiscover/autodiscover.xml", 405),
        ("POST", "/autodiscover/autodiscover.json", 405),
        ("POST", "/autodiscover/autodiscover.svc", 404),
        ("POST", "/autodiscover/autodiscover.xml/", 404),
        ("GET", "/Health", 404),
    ],
)
def test_where_a_path_leads(method: str, path: str, leads_to: Service | int) -> None:
    """In any case, but for the health check; Autodiscover only where it is served."""
    asked = head(method=method, path=path, query="")
    if isinstance(leads_to, Service):
        assert service(asked, autodiscover=True) is leads_to
    else:
        with pytest.raises(DeniedError) as caught:
            service(asked, autodiscover=True)
        assert caught.value.status == leads_to
    if "autodiscover" in path.lower():
        with pytest.raises(DeniedError) as caught:
            service(asked)
        assert caught.value.status == 404


def test_a_whole_claim() -> None:
    """The key is the device with who authenticates, not with what `User` says."""
    got = identify(head(basic(b"LAB\\Anna:secret"), "MS-ASProtocolVersion: 14.1", "X-MS-PolicyKey: 3"))
    assert got == Claim(DeviceKey("ABC", "anna@lab"), (), "iPhone", "anna@lab", "Ping", "14.1", 3)


def test_options_has_no_device_unless_it_names_one() -> None:
    """With a query it is judged as that device, and stays an OPTIONS."""
    assert identify(head(basic(b"anna:x"), method="OPTIONS", query="")).key is None
    named = identify(head(basic(b"anna:x"), method="OPTIONS"))
    assert (named.key, named.command) == (DeviceKey("ABC", "anna"), "OPTIONS")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("X: y", "credentials_missing"),
        ("Authorization:", "credentials_missing"),
        ("Authorization: Basic", "credentials_malformed"),
        ("Authorization: Basic !", "credentials_malformed"),
        (basic(b"anna"), "credentials_malformed"),
        (basic(b":secret"), "credentials_malformed"),
        (basic(b"an na:secret"), "credentials_malformed"),
        (basic(b"an\nna:secret"), "credentials_malformed"),
        ("Authorization: Negotiate YII=", "scheme_not_supported"),
        ("Authorization: Bearer x", "scheme_not_supported"),
    ],
)
def test_without_usable_credentials_it_is_401(line: str, reason: str) -> None:
    """The exchange adds the site's challenges."""
    with pytest.raises(DeniedError, match=f"^{reason}$") as caught:
        identify(head(line))
    assert (caught.value.status, caught.value.headers) == (401, ())


def test_the_password_may_be_anything() -> None:
    """Colons, nothing, other encodings: the backend judges it."""
    for pair in (b"anna:a:b", b"anna:", b"anna:\xff"):
        assert identify(head(basic(pair))).principal == "anna"


def test_a_name_in_the_older_encoding_is_read() -> None:
    """ISO 8859-1, where the bytes are not UTF-8."""
    asked = "Cmd=Ping&DeviceId=abc&DeviceType=iPhone"
    assert identify(head(basic("jörg:x".encode()), query=asked)).principal == "jörg"
    assert identify(head(basic("jörg:x".encode("latin-1")), query=asked)).principal == "jörg"


def test_a_user_that_is_someone_else_is_403_and_one_that_is_nobody_400() -> None:
    """Names in any form agree when they may be one person."""
    with pytest.raises(DeniedError, match="user_mismatch") as caught:
        identify(head(basic(b"bert:x")))
    assert caught.value.status == 403
    with pytest.raises(HeadError, match="user_malformed"):
        identify(head(basic(b"anna:x"), query=QUERY.replace("anna", "a%20b")))


@pytest.mark.parametrize("sent", [b"anna", b"LAB\\anna", b"anna@lab", b"Anna@Lab.Test", b"lab.test\\anna", b"\\anna"])
@pytest.mark.parametrize("user", ["anna", "LAB%5Canna", "anna@lab.test", "anna%40lab"])
def test_every_form_of_a_mailbox_is_one_key_where_the_site_says_how(sent: bytes, user: str) -> None:
    """Of the credentials and of `User`."""
    asked = head(basic(sent + b":x"), query=QUERY.replace("anna", user))
    assert identify_by(asked, SITE).key == DeviceKey("ABC", "anna@lab.test")


def test_a_bare_user_parameter_says_nothing_of_a_domain() -> None:
    """A phone of another domain than the default one sends it, too; a domain that is another one is still refused."""
    assert identify_by(head(basic(b"OTHER\\anna:x")), SITE).principal == "anna@other"
    with pytest.raises(DeniedError, match="user_mismatch"):
        identify_by(head(basic(b"OTHER\\anna:x"), query=QUERY.replace("anna", "LAB%5Canna")), SITE)


def test_without_credentials_the_connections_log_on_counts_for_the_device_that_has_it() -> None:
    """Asked for by the device id of the query; `User` must agree as ever."""
    asked: list[str] = []

    def holder(device_id: str) -> str:
        asked.append(device_id)
        return {"ABC": "anna", "": "bert"}.get(device_id, "")

    held = Logon(Step.HOLDS)
    wanted = Claim(DeviceKey("ABC", "anna"), (), "iPhone", "anna", "Ping", "", None, held, "anna")
    assert identify_by(head(), Access(), holder) == wanted
    assert identify_by(head(method="OPTIONS", query=""), Access(), holder).principal == "bert"
    with pytest.raises(DeniedError, match="credentials_missing"):
        identify_by(head(query=QUERY.replace("abc", "other")), Access(), holder)
    with pytest.raises(DeniedError, match="user_mismatch"):
        identify_by(head(query=QUERY.replace("anna", "bert")), Access(), holder)
    assert asked == ["ABC", "", "OTHER", "ABC"]
    assert identify_by(head(basic(b"carla:x"), query=QUERY.replace("anna", "carla")), Access(), holder).logon is None
    assert len(asked) == 4
    assert nobody("ABC") == ""


def test_while_a_log_on_opens_nobody_is_named() -> None:
    """The device is, for the audit line; `User` cannot be held against anybody yet."""
    first = "Authorization: NTLM " + base64.b64encode(b"NTLMSSP\0\1\0\0\0" + bytes(4)).decode()
    claim = identify_by(head(first), Access((Scheme.NTLM,)))
    assert (claim.key, claim.principal, claim.opens, claim.device_id) == (DeviceKey("ABC", ""), "", True, "ABC")


FIRST = "Authorization: NTLM " + base64.b64encode(b"NTLMSSP\0\1\0\0\0" + bytes(4)).decode()


def last(user: str) -> str:
    """The last message of a log-on of this user of LAB."""
    domain, name = b"LAB", user.encode()
    fields = b"".join(
        struct.pack("<HHI", size, size, place) for size, place in ((0, 64), (0, 64), (3, 64), (len(name), 67))
    )
    message = b"NTLMSSP\0\3\0\0\0" + fields + struct.pack("<HHI", 0, 0, 64) * 2 + struct.pack("<I", 2) + domain + name
    return "Authorization: NTLM " + base64.b64encode(message).decode()


OPENS, HOLDS = Logon(Step.OPENS), Logon(Step.HOLDS)
PROVES = Logon(Step.PROVES)


@pytest.mark.parametrize(
    ("owner", "line", "held", "wanted"),
    [
        ("anna@lab.test", "X: y", "", Credentials("anna@lab.test", vouched=True)),
        ("anna@lab.test", "Authorization:", "", Credentials("anna@lab.test", vouched=True)),
        ("anna@lab.test", basic(b"LAB\\anna:x"), "", Credentials("anna@lab.test", vouched=True)),
        ("anna@lab.test", basic(b"bert:x"), "", "certificate_mismatch"),
        ("anna@lab.test", "Authorization: Basic !", "", "credentials_malformed"),
        ("anna", basic(b"anna@lab.test:x"), "", Credentials("anna@lab.test")),
        ("anna@lab.test", FIRST, "", Credentials("", OPENS)),
        ("anna@lab.test", last("anna"), "", Credentials("anna@lab.test", PROVES)),
        ("anna@lab.test", last("bert"), "", "certificate_mismatch"),
        ("anna@lab.test", "X: y", "anna@lab.test", Credentials("anna@lab.test", HOLDS)),
        ("anna@lab.test", "X: y", "bert@lab.test", Credentials("anna@lab.test", vouched=True)),
        ("", "X: y", "bert@lab.test", Credentials("bert@lab.test", HOLDS)),
        ("", "X: y", "", "credentials_missing"),
        ("", basic(b"bert:x"), "", Credentials("bert@lab.test")),
    ],
)
def test_who_authenticates_beside_a_certificate(owner: str, line: str, held: str, wanted: Credentials | str) -> None:
    """A certificate that names its user vouches for that user, and for nobody else; one of a group for none."""
    access = Access((Scheme.BASIC, Scheme.NTLM), SITE.names)
    if isinstance(wanted, str):
        with pytest.raises(DeniedError, match=f"^{wanted}$"):
            authenticated(head(line), access, Badge("00", owner), held)
    else:
        assert authenticated(head(line), access, Badge("00", owner), held) == wanted


def test_what_a_certificate_says_is_in_the_claim_and_user_must_agree_with_it() -> None:
    """Also while a log-on opens, which names nobody itself."""
    badge, access = Badge("ab", "anna@lab.test"), Access((Scheme.NTLM,), SITE.names)
    claim = identify_by(head(), access, badge=badge)
    assert (claim.key, claim.certificate, claim.vouched) == (DeviceKey("ABC", "anna@lab.test"), "ab", True)
    opened = identify_by(head(FIRST), access, badge=badge)
    assert (opened.principal, opened.certificate, opened.vouched, opened.opens) == ("", "ab", False, True)
    for line in ("X: y", FIRST):
        with pytest.raises(DeniedError, match="user_mismatch"):
            identify_by(head(line, query=QUERY.replace("anna", "bert")), access, badge=badge)
    assert memo_key(head(), badge) != memo_key(head())


@pytest.mark.parametrize(
    ("query", "user"),
    [
        (QUERY, "anna@lab.test"),
        (QUERY.replace("anna", "LAB%5CBert"), "bert@lab.test"),
        (QUERY.replace("User=anna&", ""), ""),
        (QUERY.replace("anna", "a%20b"), ""),
    ],
)
def test_while_a_log_on_opens_it_is_known_whom_the_query_names(query: str, user: str) -> None:
    """A guess at best, which chooses a backend: one that is no name counts as none."""
    first = "Authorization: NTLM " + base64.b64encode(b"NTLMSSP\0\1\0\0\0" + bytes(4)).decode()
    access = Access((Scheme.NTLM, Scheme.BASIC), SITE.names)
    assert identify_by(head(first, query=query), access).user == user
    assert identify_by(head(basic(b"LAB\\anna:x")), access).user == ""  # who is known needs no guess


@pytest.mark.parametrize(
    ("method", "path", "query", "wanted"),
    [
        ("POST", "/Microsoft-Server-ActiveSync", QUERY, Service.ACTIVESYNC),
        ("OPTIONS", "/microsoft-server-activesync", "", Service.ACTIVESYNC),
        ("POST", "/Microsoft-Server-ActiveSync/default.eas", QUERY, Service.ACTIVESYNC),
        ("GET", "/health", "", Service.HEALTH),
        ("GET", "/Microsoft-Server-ActiveSync", "", 405),
        ("PUT", "/Microsoft-Server-ActiveSync", "", 405),
        ("POST", "/health", "", 405),
        ("GET", "/health", "x=y", 404),
        ("GET", "/Health", "", 404),
        ("POST", "/Microsoft-Server-ActiveSync/", QUERY, 404),
        ("POST", "/Microsoft-Server-ActiveSyncX", QUERY, 404),
        ("GET", "/", "", 404),
        ("GET", "/owa/auth/logon.aspx", "", 404),
    ],
)
def test_what_is_served(method: str, path: str, query: str, wanted: Service | int) -> None:
    """ActiveSync, health, and nothing else."""
    asked = head(method=method, path=path, query=query)
    if isinstance(wanted, Service):
        assert service(asked) is wanted
        return
    with pytest.raises(DeniedError) as caught:
        service(asked)
    assert caught.value.status == wanted


@pytest.mark.parametrize(
    "other",
    [
        head(basic(b"anna:x"), query=QUERY + "&ItemId=1"),
        head(basic(b"anna:y")),
        head(basic(b"anna:x"), "MS-ASProtocolVersion: 2.5"),
        head(basic(b"anna:x"), "X-MS-PolicyKey: 1"),
        head(basic(b"anna:x"), method="OPTIONS"),
        head(),
    ],
)
def test_what_is_remembered_is_keyed_by_all_that_was_looked_at(other: Head) -> None:
    """A difference anywhere is another claim."""
    assert memo_key(head(basic(b"anna:x"))) == memo_key(head(basic(b"anna:x"), "Cookie: a"))
    assert memo_key(other) != memo_key(head(basic(b"anna:x")))
