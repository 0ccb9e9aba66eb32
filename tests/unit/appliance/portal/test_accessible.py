"""What everybody needs who does not see the page as it is drawn, or has no mouse: labels, headings, order, contrast."""

import re
from pathlib import Path

import pytest

import appliance.portal
from tests.unit.appliance.portal.stage import Stage, devices, seen

PAGES = (
    "/", "/devices", "/devices/one?device=PHONE000003&user=user00003@example.test", "/services", "/settings", "/settings/ntp",
    "/settings/gateway", "/settings/interfaces", "/settings/interfaces?at=mgmt0", "/settings/hostname", "/certificates",
    "/settings/certificates?at=servers&at=portal", "/people", "/tokens", "/card", "/logs", "/facts", "/facts?topic=users",
    "/compliance", "/stig", "/revisions", "/revisions/compare?before=1&after=1", "/tools", "/software", "/power", "/changes",
    "/backups",
)  # fmt: skip
STYLE = Path(appliance.portal.__file__).parent / "static" / "portal.css"
PAIRS = (
    ("ink", "ground"), ("ink", "card"), ("soft", "ground"), ("soft", "card"), ("accent", "ground"), ("accent", "card"),
    ("on-accent", "accent"), ("warn-ink", "warn-ground"), ("good", "good-ground"), ("bad", "bad-ground"), ("good", "card"),
    ("bad", "card"), ("good", "ground"), ("bad", "ground"),
)  # fmt: skip
CONTRAST = 4.5  # WCAG 2.2, 1.4.3 (AA)
EDGE_CONTRAST = 3.0  # 1.4.11: what shows where a control is


@pytest.mark.parametrize("path", PAGES)
async def test_every_control_has_a_label_and_the_page_its_headings_in_order(stage: Stage, path: str) -> None:
    stage.site.devices = devices(20)
    alice = await stage.person("alice")
    await alice.send("/settings/portal", {"f.idle_minutes": "20", "do": "save"})
    await alice.get(path)
    assert alice.status == 200
    page = seen(alice.page)
    labelled = {one.get("for") for one in page.all("label")}
    ids = [one["id"] or "" for _tag, one in page.elements if "id" in one]
    assert len(ids) == len(set(ids)), sorted(one for one in ids if ids.count(one) > 1)
    wrapped = {one.get("name") for one in page.all("input") if one.get("type") == "checkbox"}
    for tag in ("input", "select", "textarea"):
        for one in page.all(tag):
            if one.get("type") in ("hidden", "submit") or one.get("name") in wrapped:
                continue
            assert one.get("id") in labelled or one.get("aria-label"), one
    assert labelled - {None} <= set(ids)
    described = [one["aria-describedby"] for _tag, one in page.elements if one.get("aria-describedby")]
    assert set(described) <= set(ids)
    levels = [int(tag[1]) for tag, _one in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    first = levels.index(1)
    assert all(after - before <= 1 for before, after in zip(levels[first:], levels[first + 1 :], strict=False)), levels
    assert page.all("html")[0]["lang"] == "en"
    assert page.elements[[tag for tag, _one in page.elements].index("a")][1]["href"] == "#content"
    assert not [one for _tag, one in page.elements if int(one.get("tabindex") or 0) > 0]


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))


def light(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_the_edges_of_controls_stand_out_in_both_schemes(scheme: str) -> None:
    text = STYLE.read_text()
    day, _, night = text.partition("@media (prefers-color-scheme: dark)")
    found = colours(day) if scheme == "light" else {**colours(day), **colours(night)}
    assert len(found) > 12
    measured = {pair: contrast(found[pair[0]], found[pair[1]]) for pair in PAIRS}
    assert {pair: number for pair, number in measured.items() if number < CONTRAST} == {}
    assert contrast(found["edge"], found["ground"]) >= EDGE_CONTRAST
    assert contrast(found["edge"], found["card"]) >= EDGE_CONTRAST


def test_there_is_no_script_and_no_style_in_a_template() -> None:
    templates = sorted((STYLE.parents[1] / "templates").glob("*.j2"))
    assert len(templates) > 15
    for template in templates:
        text = template.read_text()
        assert not re.search(r"<script|\son[a-z]+=|\sstyle=|javascript:|\|\s*safe\b|autoescape", text), template.name
