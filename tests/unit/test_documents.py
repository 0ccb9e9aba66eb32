"""What the documents name is there: files, modules, units, settings, and each other."""

import re
from pathlib import Path

import pytest

from appliance.features import FEATURES

REPO = Path(__file__).parents[2]
ROOMS = {"appliance", "sentry_runtime", "stig", "images", "roles", "playbooks", "sites", "tests", "docs"}
DOCUMENTS = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]
ARCHITECTURE = (REPO / "docs/architecture.md").read_text()
FEWEST_NAMES = 200  # there are twice as many; fewer would mean that they are not found any more
LINK = re.compile(r"\]\(([^)#\s]+)")
NAME = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"[a-z_]+(?:/[A-Za-z0-9_.*-]+)*/?")
DOTTED = re.compile(r"[a-z_]+(?:\.[A-Za-z0-9_]+)+")
UNIT = re.compile(r"sentry-[a-z-]+\.(?:service|timer|socket)")
PACKAGES = {
    "Inside the UEM": ("sentry_runtime/uem_server",),
    "Alerts": ("appliance/alerts",),
    "REST": ("appliance/rest",),
    "ACME": ("appliance/acme", "appliance"),
    "Updates": ("appliance/software", "images/updates"),
    "Copies of backups elsewhere": ("appliance/offsite",),
}
"""Sections that name a package's modules without it."""
LIBRARIES = {"acme"}
"""Others' modules that these sections name."""


def there(path: str) -> bool:
    """Whether that is a file, a folder, a module without its ending, or matches one."""
    place = REPO / path.rstrip("/")
    return place.exists() or place.with_name(f"{place.name}.py").exists() or ("*" in path and any(REPO.glob(path)))


def module(dotted: str) -> bool:
    """Whether that is a module, or a name in one."""
    words = dotted.split(".")
    for length in range(len(words), 1, -1):
        base = REPO.joinpath(*words[:length])
        source = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        if source.exists():
            return length == len(words) or re.search(rf"\b{words[length]}\b", source.read_text()) is not None
    return False


def section(title: str) -> str:
    """The text below a heading of the plan."""
    return ARCHITECTURE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_a_link_leads_somewhere(document: Path) -> None:
    links = [link for link in LINK.findall(document.read_text()) if "://" not in link]
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_a_path_or_a_module_that_is_named_is_there(document: Path) -> None:
    """Those that begin with a room's name, and the management plane's without its own."""
    names = set(NAME.findall(document.read_text()))
    paths = {name for name in names if PATH.fullmatch(name) and "/" in name and name.split("/")[0] in ROOMS}
    short = {name for name in names if PATH.fullmatch(name) and "/" in name} - paths
    paths |= {f"appliance/{name}" for name in short if (REPO / "appliance" / name.split("/")[0]).is_dir()}
    dotted = {name for name in names if DOTTED.fullmatch(name) and name.split(".")[0] in ROOMS} - {"appliance.json"}
    assert [name for name in sorted(paths) if not there(name)] == []
    assert [name for name in sorted(dotted) if not module(name)] == []


def test_the_plan_names_many_and_a_wrong_one_would_be_seen() -> None:
    assert len(set(NAME.findall(ARCHITECTURE))) > FEWEST_NAMES
    assert there("appliance/configd/scopes.py")
    assert module("appliance.configd.scopes.usual")
    assert not there("appliance/configd/scope.py")
    assert not module("appliance.configd.scope")
    assert not module("appliance.configd.scopes.unusual")


@pytest.mark.parametrize("title", PACKAGES)
def test_a_section_s_modules_are_its_package_s(title: str) -> None:
    names = set(re.findall(r"`([a-z_]+)`", section(title)))
    assert names
    found = {place.stem for package in PACKAGES[title] for place in (REPO / package).glob("*.py")}
    assert sorted(names - found - LIBRARIES) == []


def test_every_module_of_the_uem_is_in_its_table() -> None:
    names = set(NAME.findall(section("Inside the UEM")))
    found = {place.stem for place in (REPO / "sentry_runtime/uem_server").glob("*.py") if "__" not in place.name}
    assert found
    assert sorted(found - names) == []


def test_the_units_of_the_plan_are_those_that_are_installed() -> None:
    named = set(UNIT.findall(section("On the appliance")))
    files = {
        place.name.removesuffix(".j2") for room in ("roles", "images") for place in (REPO / room).rglob("sentry-*")
    }
    assert named
    assert sorted(named - files) == []


def test_the_settings_of_the_plan_are_the_features() -> None:
    listed = section("A site configuration").partition("top-level keys:\n")[2].partition("\n(")[0]
    assert NAME.findall(listed) == [feature.name for feature in FEATURES]
