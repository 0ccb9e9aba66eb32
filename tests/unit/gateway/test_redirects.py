"""What a 451 says, whether it is followed, and what is remembered of it."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.gateway import redirects
from sentry_runtime.gateway.redirects import (
    ENTRIES,
    REMEMBERED_SECONDS,
    Forgotten,
    Learned,
    Location,
    RedirectError,
    Redirections,
    location_of,
    permitted,
    permitted_host,
    read,
)
from sentry_runtime.settings import Backend, ClientTls, Redirects
from tests.clock import Clock

EAS = "/Microsoft-Server-ActiveSync"
SECURED = Backend(name="mail", host="192.0.2.1", port=8443, server_name="mail.test", tls=ClientTls(trust="/t"))
PLAIN = Backend(name="mail", host="192.0.2.1", port=8080)
RULES = Redirects(hosts=("east.test", ".west.test", "192.0.2.9", "2001:db8::9"), networks=("192.0.2.0/24",))
KEY = DeviceKey("PHONE1", "anna@lab.test")

# X-MS-Location | what it says | or why it says nothing
READ: tuple[tuple[str, Location | str], ...] = (
    (f"https://east.test{EAS}", Location("https", "east.test", 443)),
    (f"HTTPS://East.TEST{EAS.lower()}", Location("https", "east.test", 443)),
    (f"https://east.test:8443{EAS}/", Location("https", "east.test", 8443)),
    (f"https://east.test{EAS}/default.eas", Location("https", "east.test", 443)),
    (f"https://east.test{EAS}?Cmd=Sync&User=x", Location("https", "east.test", 443)),
    (f"http://east.test{EAS}", Location("http", "east.test", 80)),
    (f"https://192.0.2.9{EAS}", Location("https", "192.0.2.9", 443)),
    (f"https://[2001:DB8::9]:444{EAS}", Location("https", "2001:db8::9", 444)),
    ("https://east.test", "redirect_path"),
    ("https://east.test/", "redirect_path"),
    ("https://east.test/owa", "redirect_path"),
    (f"https://east.test/x{EAS}", "redirect_path"),
    (f"https://east.test{EAS}/../x", "redirect_path"),
    ("", "redirect_malformed"),
    ("east.test", "redirect_malformed"),
    (f"//east.test{EAS}", "redirect_malformed"),
    (f"ftp://east.test{EAS}", "redirect_malformed"),
    (f"file://east.test{EAS}", "redirect_malformed"),
    (f"https://anna:secret@east.test{EAS}", "redirect_malformed"),
    (f"https://east.test@evil.test{EAS}", "redirect_malformed"),
    (f"https://evil.test#@east.test{EAS}", "redirect_malformed"),
    (f"https://evil.test\\@east.test{EAS}", "redirect_malformed"),
    (f"https://east.test {EAS}", "redirect_malformed"),
    (f"https://east.test{EAS}#x", "redirect_malformed"),
    (f"https://east.test.{EAS}", "redirect_malformed"),
    (f"https://-east.test{EAS}", "redirect_malformed"),
    (f"https://east.test:{EAS}", "redirect_malformed"),
    (f"https://east.test:port{EAS}", "redirect_malformed"),
    (f"https://e\u0131st.test{EAS}", "redirect_malformed"),
    (f" https://east.test{EAS}", "redirect_malformed"),
    (f"https://east.test{EAS}?{'x' * 2_048}", "redirect_malformed"),
)


@pytest.mark.parametrize(("said", "found"), READ)
def test_a_location_is_read_strictly(said: str, found: Location | str) -> None:
    """Whatever could be read in two ways is not read at all."""
    if isinstance(found, Location):
        assert read(said.encode()) == found
        return
    with pytest.raises(RedirectError, match=found):
        read(said.encode())


@given(st.binary(max_size=300))
def test_whatever_a_backend_says_is_a_place_or_a_refusal(said: bytes) -> None:
    """And a place has a host that a certificate can name."""
    with contextlib.suppress(RedirectError):
        host = read(said).host
        assert host.isascii()
        assert not set(host) & set("@/\\ ?#%")


# where to | by whom | allowed, or why not
PERMITTED: tuple[tuple[Location, Backend, str], ...] = (
    (Location("https", "east.test", 443), SECURED, ""),
    (Location("https", "east.test", 8443), SECURED, ""),
    (Location("https", "deep.in.west.test", 443), SECURED, ""),
    (Location("https", "192.0.2.9", 443), SECURED, ""),
    (Location("http", "east.test", 80), PLAIN, ""),
    (Location("http", "east.test", 8080), PLAIN, ""),
    (Location("http", "east.test", 80), SECURED, "redirect_scheme"),
    (Location("https", "east.test", 443), PLAIN, "redirect_scheme"),
    (Location("https", "east.test", 22), SECURED, "redirect_port"),
    (Location("https", "west.test", 443), SECURED, "redirect_host"),
    (Location("https", "notwest.test", 443), SECURED, "redirect_host"),
    (Location("https", "east.test.evil.test", 443), SECURED, "redirect_host"),
    (Location("https", "192.0.2.10", 443), SECURED, "redirect_host"),
)


@pytest.mark.parametrize(("to", "sender", "refusal"), PERMITTED)
def test_only_listed_hosts_are_gone_to_and_on_the_senders_terms(to: Location, sender: Backend, refusal: str) -> None:
    """Its scheme, trust and versions; a port that is usual or its own; the name to be proved is the other's."""
    if refusal:
        with pytest.raises(RedirectError, match=refusal) as refused:
            permitted(to, sender, RULES)
        assert refused.value.host == to.host
        return
    found = permitted(to, sender, RULES)
    assert (found.name, found.host, found.port, found.server_name) == (to.host, to.host, to.port, None)
    assert (found.tls, found.verify) == (sender.tls, sender.verify)


def test_nothing_listed_is_nowhere() -> None:
    """Deny by default."""
    assert not permitted_host("east.test", ())
    assert not permitted_host("", ("",)[:0])


def test_a_451_names_one_place_or_none() -> None:
    """Two say nothing, since a device might read the other one."""
    assert location_of([(b"X-MS-LOCATION", b"a")]) == b"a"
    assert location_of([(b"X-MS-Location", b"a"), (b"x-ms-location", b"b")]) == b""
    assert location_of([(b"Location", b"a")]) == b""


EAST = Location("https", "east.test", 443)


def test_it_is_remembered_for_its_time_and_can_be_cleared() -> None:
    """Of this device and principal, and of nobody else."""
    clock = Clock()
    known = Redirections(now=clock)
    known.learn(KEY, EAST, "mail")
    found = known.get(KEY)
    assert found is not None
    assert (found.host, found.port, found.backend) == ("east.test", 443, "mail")
    assert known.get(DeviceKey("PHONE1", "bert@lab.test")) is None
    clock.now += REMEMBERED_SECONDS - 1
    assert known.get(KEY) is not None
    clock.now += 1
    assert known.get(KEY) is None
    assert (len(known), list(known)) == (0, [])


def test_two_tables_agree_by_their_news() -> None:
    """Whatever one learns or forgets is in the other, too, and a new one begins with what there is."""
    clock = Clock()
    one, other = Redirections(now=clock), Redirections(now=clock)
    keys = [DeviceKey(f"PHONE{number}", "anna") for number in range(3)]
    for key in keys:
        other.apply(one.learn(key, EAST, "mail"))
    assert list(one) == list(other) == list(Redirections(other, now=clock))
    for table in (one, other):
        table.apply(Forgotten(keys=(keys[1], KEY)))
    assert [entry.key for entry in other] == [keys[0], keys[2]]
    other.apply(Forgotten(keys=None))
    assert len(other) == 0


def test_the_table_is_bounded_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is redirected again becomes the youngest."""
    assert ENTRIES >= 10_000
    monkeypatch.setattr(redirects, "ENTRIES", 2)
    known = Redirections(now=Clock())
    for name in ("A", "B", "A", "C"):
        known.learn(DeviceKey(name, "anna"), EAST, "mail")
    assert [entry.key.device_id for entry in known] == ["A", "C"]


def test_news_survive_the_way_between_processes() -> None:
    """One packet each, told apart by a word."""
    learned = Redirections(now=Clock()).learn(KEY, EAST, "mail")
    for news in (learned, Forgotten(keys=(KEY,)), Forgotten(keys=None)):
        assert msgspec.json.decode(msgspec.json.encode(news), type=redirects.News) == news
    assert isinstance(learned, Learned)
