"""What strangers put into names never becomes part of a page's structure: a corpus, on every page that shows such a name."""

import pytest

from appliance.configd import api
from sentry_runtime.devices.record import DeviceKey, Record, State
from tests.unit.appliance.portal.stage import Stage, seen

CORPUS = (
    "<script>alert(1)</script>",
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    "</pre><script>alert(1)</script>",
    "</textarea><svg onload=alert(1)>",
    "</title><script>alert(1)</script>",
    '" onfocus="alert(1)" autofocus="',
    "javascript:alert(1)",
    "{{ 7*7 }}{% raw %}",
    "<!--><script>alert(1)</script>",
    "]]><script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\u202e<b>txt\u2066",
    "<base href=https://evil.test>",
    '<meta http-equiv="refresh" content="0;url=https://evil.test">',
    "<form action=https://evil.test><input name=token>",
)
HARMLESS = "a plain name"
PAGES = (
    "/", "/devices", "/services", "/facts?topic=backends", "/logs", "/compliance", "/certificates", "/people", "/changes",
    "/settings/interfaces?at=mgmt0", "/settings/interfaces", "/revisions", "/tools", "/stig",
)  # fmt: skip


def shape(page: str) -> list[str]:
    """Every element with the names of its attributes, and where links and forms lead outside a query."""
    parsed = seen(page)
    return [f"{tag} {sorted(attributes)}" for tag, attributes in parsed.elements]


async def shown(stage: Stage, name: str) -> dict[str, str]:
    """All pages with `name` wherever strangers or other administrators may put one."""
    row, column = (
        (name,) * 9,
        ("certificate", "use", "made by", "subject", "issuer", "names", "ends", "days left", "SHA-256"),
    )
    table = {
        "certificates": (column, row),
        "services": (("unit", "state", "detail", "at boot", "restarts"), row[:5]),
        "backends": (("name", "host", "port", "state"), row[:4]),
        "sessions": (("user", "from"), row[:2]),
        "stig-open": (("rule", "CAT", "status", "demands", "found", "mended by"), row[:6]),
    }
    for topic, (columns, cells) in table.items():
        stage.site.topics[topic] = api.Table(title=topic, columns=columns, rows=(cells,))
    stage.site.topics["log"] = api.Text(title="log", lines=(name, name))
    stage.site.topics["version"] = api.Facts(title="version", facts=((name, name),))
    stage.site.topics["gateway"] = api.Facts(title="gateway", facts=((name, name), ("allowed", name)))
    key = DeviceKey("PHONE1", name)
    stage.site.devices = [Record(key=key, state=State.ALLOWED, version=1, device_type=name, note=name)]
    alice = await stage.person("alice")
    # A description takes no line ends and no backslash, but all of these.
    await alice.send("/settings/interfaces?at=mgmt0", {"f.description": name[:80], "do": "save"})
    pages = {path: (await alice.get(path)).page for path in PAGES}
    await alice.post("/settings/ntp", [("f.servers", name), ("do", "save")])
    pages["an error beside a field"] = alice.page
    await alice.post("/tools/look", {"host": name, "what": "ping"})
    pages["a tool"] = alice.page
    await alice.post("/changes/commit", {"comment": name, "how": "confirm", "minutes": name})
    pages["a comment"] = alice.page
    await alice.get(f"/devices?text={name}".replace("#", "").replace(" ", "+").replace("%", "%25"))
    pages["a search"] = alice.page
    return pages


@pytest.mark.parametrize("name", CORPUS)
async def test_a_name_changes_no_page_s_structure_and_is_read_as_it_is(stage: Stage, name: str) -> None:
    stranger = await stage.person()
    await stranger.get("/login")
    await stranger.post("/login", {"user": name, "password": "x"})
    assert "script" not in [tag for tag, _attributes in seen(stranger.page).elements]
    pages = await shown(stage, name)
    for path, page in pages.items():
        parsed = seen(page)
        tags = {tag for tag, _attributes in parsed.elements}
        assert not tags & {"script", "img", "base", "iframe", "object", "embed", "style", "b"}, path
        names = {attribute for _tag, attributes in parsed.elements for attribute in attributes}
        assert not [one for one in names if one.startswith("on") or one == "style"], path
        for attribute in ("href", "action", "formaction", "src"):
            for _tag, attributes in parsed.elements:
                assert (attributes.get(attribute) or "/").startswith(("/", "#")), (path, attributes)
        if path in ("/logs", "/services", "a tool", "an error beside a field"):
            assert " ".join(name.split()) in " ".join(parsed.text) or name in [
                value for _tag, attributes in parsed.elements for value in attributes.values()
            ], path


async def test_pages_with_a_hostile_name_have_the_elements_of_those_with_a_plain_one(stage: Stage) -> None:
    plain = {path: shape(page) for path, page in (await shown(stage, HARMLESS)).items()}
    stage.site.sessions.close(stage.site.sessions.all()[0].handle)
    hostile = {path: shape(page) for path, page in (await shown(stage, "<p onclick=x>")).items()}
    assert len(plain) == len(PAGES) + 4
    for path in ("/services", "/logs", "/certificates", "/people", "/devices", "a search"):
        assert hostile[path] == plain[path], path
