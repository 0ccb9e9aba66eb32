"""The lists of versions and commands that clients choose from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.eas.offer import FIELDS, offered, versions_up_to
from sentry_runtime.eas.query import COMMANDS, VERSIONS

# As SOGo 5 answers: a list without Provision.
SOGO = (
    b"Sync,SendMail,SmartForward,SmartReply,GetAttachment,GetHierarchy,CreateCollection,DeleteCollection,MoveCollection,"
    b"FolderSync,FolderCreate,FolderDelete,FolderUpdate,MoveItems,GetItemEstimate,MeetingResponse,Search,Settings,Ping,"
    b"ItemOperations,ResolveRecipients,ValidateCert"
)


@pytest.mark.parametrize(
    ("said", "passed"),
    [
        ([b"2.5,12.0,12.1,14.0,14.1"], b"2.5,12.0,12.1,14.0,14.1"),
        ([b"2.0,2.5,12.0,12.1,14.0,14.1,16.0,16.1"], b"2.5,12.0,12.1,14.0,14.1,16.0,16.1"),
        ([b"14.1, 16.1, 17.0"], b"14.1,16.1"),
        ([b"14.1,  12.1"], b"14.1,  12.1"),  # nothing to cut: the bytes as they came
        ([b"14.1", b"12.1,14.1"], b"14.1,12.1"),
        ([b"14.1,14.1"], b"14.1"),
        ([b"14.1,"], b"14.1,"),
        ([b"14.1x,141,1.4.1"], None),
        ([b""], None),
    ],
)
def test_versions_we_cannot_read_are_cut(said: list[bytes], passed: bytes | None) -> None:
    """The order stays; a doubled field becomes one; a list with nothing left is left out; X-MS-RP says the same."""
    for name in (b"MS-ASProtocolVersions", b"X-MS-RP"):
        fields = [(b"A", b"1"), *((name, one) for one in said), (b"B", b"2")]
        between = [] if passed is None else [(name, passed)]
        assert offered(fields, provisions=False) == [(b"A", b"1"), *between, (b"B", b"2")]


@pytest.mark.parametrize(
    ("newest", "passed"),
    [("16.1", b"2.5,12.1,14.1,16.1"), ("16.0", b"2.5,12.1,14.1"), ("12.0", b"2.5"), ("2.5", b"2.5")],
)
def test_a_site_may_offer_less(newest: str, passed: bytes) -> None:
    """Whatever the backend speaks."""
    said = [(b"MS-ASProtocolVersions", b"2.0,2.5,12.1,14.1,16.1")]
    assert offered(said, provisions=False, versions=versions_up_to(newest)) == [(b"MS-ASProtocolVersions", passed)]


@pytest.mark.parametrize(
    ("said", "provisions", "passed"),
    [
        (SOGO, False, SOGO),
        (SOGO, True, SOGO + b",Provision"),
        (b"Sync,Provision,Ping", True, b"Sync,Provision,Ping"),
        (b"Sync,PROVISION", True, b"Sync,PROVISION"),
        (b"Sync,Provision,Ping", False, b"Sync,Provision,Ping"),  # a backend that provisions itself
        (b"Sync,Teleport,Ping", False, b"Sync,Ping"),
        (b"Sync,sync", False, b"Sync"),
        (b"Teleport", True, b"Provision"),
    ],
)
def test_commands_are_cut_to_those_we_know_and_provision_is_ours_to_add(
    said: bytes, passed: bytes, *, provisions: bool
) -> None:
    """In the backend's spelling; Provision only when the gateway answers it."""
    assert offered([(b"Ms-AsProtocolCommands", said)], provisions=provisions) == [(b"Ms-AsProtocolCommands", passed)]


def test_no_list_is_made_up() -> None:
    """A response that offers nothing stays as it is, also when the gateway provisions."""
    fields = [(b"Content-Type", b"application/vnd.ms-sync.wbxml"), (b"MS-Server-ActiveSync", b"17.0")]
    assert offered(fields, provisions=True) == fields


ITEMS = st.sampled_from([b"2.5", b"14.1", b"17.0", b"Sync", b"provision", b"Teleport", b"", b" 16.1 ", b"\xff,"])
NAMES = st.sampled_from([b"MS-ASProtocolVersions", b"ms-asprotocolcommands", b"X-MS-RP", b"X-Note", b"Date"])
VALUES = st.one_of(st.lists(ITEMS).map(b",".join), st.binary(max_size=40))


@given(fields=st.lists(st.tuples(NAMES, VALUES), max_size=8), provisions=st.booleans())
def test_whatever_a_backend_says_only_what_we_know_comes_through(
    fields: list[tuple[bytes, bytes]], *, provisions: bool
) -> None:
    """Each list once and of known items only; all other fields untouched and in order; twice is as once."""
    got = offered(fields, provisions=provisions)
    assert [one for one in got if one[0].lower() not in FIELDS] == [
        one for one in fields if one[0].lower() not in FIELDS
    ]
    lists = [(name.lower(), value) for name, value in got if name.lower() in FIELDS]
    assert len(lists) == len(dict(lists))
    known = {one.upper().encode() for one in (*VERSIONS.values(), *COMMANDS.values())}
    assert {item.strip(b" \t").upper() for _, value in lists for item in value.split(b",")} <= known | {b""}
    assert offered(got, provisions=provisions) == got
