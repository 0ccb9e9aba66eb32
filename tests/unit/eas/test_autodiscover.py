"""The documents of Autodiscover: what is read, what is refused, what is written."""

import json
import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentry_runtime.eas import autodiscover, autodiscover_json
from sentry_runtime.eas.autodiscover import DEPTH, MOBILESYNC, REQUEST_BYTES, AutodiscoverError, Fault

REQUEST = "http://schemas.microsoft.com/exchange/autodiscover/mobilesync/requestschema/2006"
OUTLOOK_REQUEST = "http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"
OUTLOOK = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
URL = "https://gw.lab.test/Microsoft-Server-ActiveSync"

ADDRESS = "<EMailAddress>anna@lab.test</EMailAddress>"
SCHEMA = f"<AcceptableResponseSchema>{MOBILESYNC}</AcceptableResponseSchema>"


def request(inside: str = ADDRESS + SCHEMA, *, namespace: str = REQUEST, before: str = "") -> str:
    """A request document."""
    return f'{before}<Autodiscover xmlns="{namespace}"><Request>{inside}</Request></Autodiscover>'


def parsed(document: bytes) -> ET.Element:
    """A response as another reader takes it."""
    return ET.fromstring(document)  # noqa: S314 - written by ourselves


def pretty(end: str) -> str:
    """Indented, with the schema on a line of its own, as scripts and libraries write it."""
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f'<Autodiscover xmlns="{REQUEST}">',
        "  <Request>",
        "    <EMailAddress>anna@lab.test</EMailAddress>",
        "    <AcceptableResponseSchema>",
        f"      {MOBILESYNC}",
        "    </AcceptableResponseSchema>",
        "  </Request>",
        "</Autodiscover>",
        "",
    ]
    return end.join(lines)


@pytest.mark.parametrize(
    "document",
    [
        # Android's serializer: single quotes, standalone, everything on one line.
        request(before="<?xml version='1.0' encoding='UTF-8' standalone='no' ?>"),
        pretty("\r\n"),
        pretty("\n"),
        "\n" + request(),
        "\ufeff" + request(before='<?xml version="1.0" encoding="utf-8"?>'),
        request(SCHEMA + ADDRESS),
        request(f"<LegacyDN>/o=x</LegacyDN>{ADDRESS}{SCHEMA}<x:Extra xmlns:x='urn:x'><x:More/></x:Extra>"),
        request(namespace=OUTLOOK_REQUEST),
        request(f"<EMailAddress> anna&#64;lab.test </EMailAddress>{SCHEMA}"),
        request(f"<EMailAddress><![CDATA[anna@lab.test]]></EMailAddress>{SCHEMA}"),
        request(f"<!-- a comment -->{ADDRESS}{SCHEMA}"),
        f'<a:Autodiscover xmlns:a="{REQUEST}"><a:Request><a:EMailAddress>anna@lab.test</a:EMailAddress>'
        f"<a:AcceptableResponseSchema>{MOBILESYNC}</a:AcceptableResponseSchema></a:Request></a:Autodiscover>",
    ],
)
def test_the_forms_clients_write_are_read(document: str) -> None:
    """Whatever the order, the space, the prefix and the mark at the beginning."""
    assert autodiscover.requested_address(document.encode()) == "anna@lab.test"


def test_the_address_may_be_in_any_script() -> None:
    """Also when the document says it were in another encoding: it is read as UTF-8."""
    inside = f"<EMailAddress>änna@bücher.test</EMailAddress>{SCHEMA}"
    for before in ("", '<?xml version="1.0" encoding="iso-8859-1"?>', '<?xml version="1.0" encoding="idna"?>'):
        assert autodiscover.requested_address(request(inside, before=before).encode()) == "änna@bücher.test"


LAUGHS = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
BOMB = f'<!DOCTYPE Autodiscover [<!ENTITY l0 "lol">{LAUGHS}]>'


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (request(f"<EMailAddress>&l9;@lab.test</EMailAddress>{SCHEMA}", before=BOMB), "autodiscover_dtd"),
        (
            request(
                f"<EMailAddress>&x;@lab.test</EMailAddress>{SCHEMA}",
                before='<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
            ),
            "autodiscover_dtd",
        ),
        (request(before='<!DOCTYPE a SYSTEM "http://192.0.2.1/a.dtd">'), "autodiscover_dtd"),
        (request(before='<!DOCTYPE a [<!ENTITY % x SYSTEM "http://192.0.2.1/"> %x;]>'), "autodiscover_dtd"),
        (request(before="<!DOCTYPE Autodiscover>"), "autodiscover_dtd"),
        (request(before='<?xml-stylesheet href="http://192.0.2.1/"?>'), "autodiscover_dtd"),
        (request(f"<EMailAddress>&x;@lab.test</EMailAddress>{SCHEMA}"), "autodiscover_malformed"),
        (request(ADDRESS * 2 + SCHEMA), "autodiscover_malformed"),
        (request(ADDRESS + SCHEMA * 2), "autodiscover_malformed"),
        (request(ADDRESS + SCHEMA + "</Request><Request>" + ADDRESS), "autodiscover_malformed"),
        (request(f"<EMailAddress>a<b/>@lab.test</EMailAddress>{SCHEMA}"), "autodiscover_malformed"),
        (request("<a>" * DEPTH + "</a>" * DEPTH + ADDRESS + SCHEMA), "autodiscover_malformed"),
        (request(namespace="urn:other"), "autodiscover_malformed"),
        (request().replace("Autodiscover", "Other"), "autodiscover_malformed"),
        (request()[:-1], "autodiscover_malformed"),
        (request() + request(), "autodiscover_malformed"),
        (request() + "x", "autodiscover_malformed"),
        ("", "autodiscover_malformed"),
        ("{}", "autodiscover_malformed"),
        (request(SCHEMA), "autodiscover_incomplete"),
        (request(ADDRESS), "autodiscover_incomplete"),
        (request(f"<EMailAddress xmlns='urn:x'>anna@lab.test</EMailAddress>{SCHEMA}"), "autodiscover_incomplete"),
        (request(f"<X>{ADDRESS}{SCHEMA}</X>"), "autodiscover_incomplete"),
        (request(f"<EMailAddress>anna</EMailAddress>{SCHEMA}"), "autodiscover_incomplete"),
        (request(f"<EMailAddress>@lab.test</EMailAddress>{SCHEMA}"), "autodiscover_incomplete"),
        (request(f"<EMailAddress>a@b@lab.test</EMailAddress>{SCHEMA}"), "autodiscover_incomplete"),
        (request(f"<EMailAddress>an na@lab.test</EMailAddress>{SCHEMA}"), "autodiscover_address"),
        (request(f"<EMailAddress>an\nna@lab.test</EMailAddress>{SCHEMA}"), "autodiscover_address"),
        (request(f"<EMailAddress>{'a' * 400}@lab.test</EMailAddress>{SCHEMA}"), "autodiscover_address"),
        (request(before=" " * REQUEST_BYTES), "autodiscover_too_large"),
    ],
)
def test_what_is_no_request_is_an_invalid_request(document: str, reason: str) -> None:
    """DTDs and entities of every kind, two readings, other documents, no address: 600."""
    with pytest.raises(AutodiscoverError, match=f"^{reason}$") as caught:
        autodiscover.requested_address(document.encode())
    assert caught.value.fault is Fault.INVALID_REQUEST


@pytest.mark.parametrize("inside", [ADDRESS, "<LegacyDN>/o=x</LegacyDN>", ""])
def test_another_schema_has_no_provider(inside: str) -> None:
    """601, whoever is asked about: Outlook's form for Exchange settings."""
    document = request(
        f"{inside}<AcceptableResponseSchema>{OUTLOOK}</AcceptableResponseSchema>", namespace=OUTLOOK_REQUEST
    )
    with pytest.raises(AutodiscoverError, match="autodiscover_schema") as caught:
        autodiscover.requested_address(document.encode())
    assert caught.value.fault is Fault.NO_PROVIDER


PIECES = st.sampled_from(
    [
        ADDRESS,
        SCHEMA,
        "<Request>",
        "</Request>",
        "&x;",
        "&#0;",
        "<!DOCTYPE a []>",
        "<a b='c'>",
        "</a>",
        "@",
        "\x00",
        "]]>",
    ]
)
DOCUMENTS = st.one_of(
    st.binary(max_size=300),
    st.lists(PIECES, max_size=8).map(lambda parts: request("".join(parts)).encode()),
    st.text(max_size=60).map(lambda text: request(f"<EMailAddress>{text}</EMailAddress>{SCHEMA}").encode()),
    st.tuples(st.binary(max_size=8), st.integers(0, 300)).map(
        lambda cut: request().encode()[: cut[1]] + cut[0] + request().encode()[cut[1] :]
    ),
)


@given(DOCUMENTS)
@example(request().encode("utf-16"))
@example(request(before='<?xml version="1.0" encoding="utf-32"?>').encode("utf-32"))
def test_whatever_comes_there_is_an_address_or_a_fault(document: bytes) -> None:
    """An address is bounded, has one "@" and comes back in the answer as it was asked."""
    try:
        address = autodiscover.requested_address(document)
    except AutodiscoverError:
        return
    assert len(address) <= autodiscover.ADDRESS_CHARS
    assert address.count("@") == 1
    tree = parsed(autodiscover.settings(address, URL))
    assert tree.findtext(f".//{{{MOBILESYNC}}}EMailAddress") == address


def test_the_settings_are_those_of_the_specification() -> None:
    """Elements in the order of the schema, the URL as Url and Name (MS-ASCMD 4.2.5)."""
    tree = parsed(autodiscover.settings("a&<b>@lab.test", URL))
    assert tree.tag == "{http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006}Autodiscover"
    told = [(one.tag.rpartition("}")[2], one.text) for one in tree.iter() if one.text]
    assert told == [
        ("Culture", "en:us"),
        ("DisplayName", "a&<b>@lab.test"),
        ("EMailAddress", "a&<b>@lab.test"),
        ("Type", "MobileSync"),
        ("Url", URL),
        ("Name", URL),
    ]
    assert {one.tag.partition("}")[0] for one in tree.iter() if one is not tree} == {"{" + MOBILESYNC}


@pytest.mark.parametrize("fault", Fault)
def test_a_failure_names_its_code(fault: Fault) -> None:
    """With the time and a message."""
    tree = parsed(autodiscover.failure(fault, "10:00:00.0000000"))
    (error,) = tree.findall(".//{*}Error")
    assert error.get("Time") == "10:00:00.0000000"
    assert error.findtext("{*}ErrorCode") == str(fault.value)
    assert error.findtext("{*}Message")


@pytest.mark.parametrize(
    ("query", "protocol"),
    [
        (b"Email=anna@lab.test&Protocol=ActiveSync&RedirectCount=1", "ActiveSync"),
        (b"email=anna%40lab.test&protocol=activesync", "activesync"),
        (b"PROTOCOL=Active%53ync", "ActiveSync"),
        (b"Protocol=AutodiscoverV1&Email=a", "AutodiscoverV1"),
        (b"Protocol=", ""),
        (b"Email=a", ""),
        (b"", ""),
        (b"&&=&x", ""),
    ],
)
def test_the_protocol_of_a_query(query: bytes, protocol: str) -> None:
    """Names and ActiveSync itself in any case."""
    assert autodiscover_json.requested_protocol(query) == protocol
    assert autodiscover_json.serves(protocol) == (protocol.lower() == "activesync")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (b"Protocol=ActiveSync&protocol=Ews", "parameter_doubled"),
        (b"Protocol=%ff", "parameter_encoding"),
        (b"Email=" + b"a" * 5_000, "query_too_long"),
    ],
)
def test_queries_with_no_reading(query: bytes, reason: str) -> None:
    """Doubled, not UTF-8, too long."""
    with pytest.raises(autodiscover_json.QueryError, match=reason):
        autodiscover_json.requested_protocol(query)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=60).map(lambda text: f"Protocol={text}".encode())))
def test_whatever_is_asked_the_answer_is_small_and_plain(query: bytes) -> None:
    """Of another protocol's name only letters and digits come back."""
    try:
        protocol = autodiscover_json.requested_protocol(query)
    except autodiscover_json.QueryError:
        return
    answer = autodiscover_json.failure(protocol)
    assert len(answer) < 200
    assert json.loads(answer)["ErrorCode"] == "InvalidProtocol"
    assert not set(b"<>&") & set(answer)


def test_the_json_answer() -> None:
    """Two members."""
    assert json.loads(autodiscover_json.settings(URL)) == {"Protocol": "ActiveSync", "Url": URL}
