"""Our own benchmark as a manual STIG: the file that STIG Viewer and STIG Manager import before they take a checklist of it.

It has the shape of DISA's manual STIGs (XCCDF 1.1, bare ids, the discussion as tags within the description), since readers know
no other. `python -m stig benchmark FILE` writes it; a checklist of a scan matches it by its id, version and release.
"""

from xml.sax.saxutils import escape

from lxml import etree

from stig.reports import texts
from stig.rules import Benchmark, Chapter, Rule

XCCDF = "http://checklists.nist.gov/xccdf/1.1"
DC = "http://purl.org/dc/elements/1.1/"
_EMPTY = (
    "FalsePositives",
    "FalseNegatives",
    "Documentable",
    "Mitigations",
    "SeverityOverrideGuidance",
    "PotentialImpacts",
    "ThirdPartyTools",
    "MitigationControl",
    "Responsibility",
    "IAControls",
)


def render(chapter: Chapter) -> bytes:
    """The whole file."""
    benchmark = chapter.benchmark
    root = etree.fromstring(f'<Benchmark xmlns="{XCCDF}" xmlns:dc="{DC}"/>')
    root.set("id", benchmark.id)
    root.set("{http://www.w3.org/XML/1998/namespace}lang", "en")
    etree.SubElement(root, _x("status"), {"date": _date(benchmark)}).text = "accepted"
    _text(root, "title", benchmark.title)
    _text(root, "description", texts.origin([chapter]))
    etree.SubElement(root, _x("notice"), {"id": "terms-of-use"}).text = ""
    _about(etree.SubElement(root, _x("reference")), ("publisher", benchmark.publisher), ("source", benchmark.source))
    # Readers take the first of these for the release.
    etree.SubElement(root, _x("plain-text"), {"id": "release-info"}).text = benchmark.release
    etree.SubElement(root, _x("plain-text"), {"id": "generator"}).text = "sentry stig"
    _text(root, "version", benchmark.version)
    for rule in chapter.rules:
        _group(root, benchmark, rule)
    etree.indent(root)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8") + b"\n"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _date(benchmark: Benchmark) -> str:
    """The release's date as XML has it, whatever the locale."""
    day, month, year = benchmark.release.rsplit(" ", 3)[1:]
    return f"{year}-{_MONTHS.index(month) + 1:02}-{day}"


def _x(name: str) -> str:
    return f"{{{XCCDF}}}{name}"


def _text(parent: etree._Element, name: str, text: str) -> etree._Element:
    element = etree.SubElement(parent, _x(name))
    element.text = texts.clean(text)
    return element


def _about(element: etree._Element, *rows: tuple[str, str]) -> None:
    for name, text in rows:
        etree.SubElement(element, f"{{{DC}}}{name}").text = text


def _group(root: etree._Element, benchmark: Benchmark, rule: Rule) -> None:
    group = etree.SubElement(root, _x("Group"), {"id": rule.id})
    _text(group, "title", rule.srg)
    _text(group, "description", "<GroupDescription></GroupDescription>")
    attributes = {"id": rule.rule_id, "weight": texts.WEIGHT, "severity": rule.severity}
    element = etree.SubElement(group, _x("Rule"), attributes)
    _text(element, "version", rule.version_id)
    _text(element, "title", rule.requirement)
    _text(element, "description", _discussion(rule))
    target = (("title", benchmark.title), ("publisher", benchmark.publisher))
    _about(
        etree.SubElement(element, _x("reference")),
        *target,
        ("type", "DPMS Target"),
        ("identifier", benchmark.target_key),
    )
    for cci in rule.ccis:
        etree.SubElement(element, _x("ident"), {"system": texts.CCI_SYSTEM}).text = cci
    _text(element, "fixtext", rule.fix).set("fixref", f"F-{rule.id}_fix")
    etree.SubElement(element, _x("fix"), {"id": f"F-{rule.id}_fix"})
    check = etree.SubElement(element, _x("check"), {"system": f"C-{rule.id}_chk"})
    etree.SubElement(check, _x("check-content-ref"), {"href": benchmark.filename, "name": "M"})
    _text(check, "check-content", rule.check)


def _discussion(rule: Rule) -> str:
    """The discussion and DISA's other headings, which are empty here; as tags within the text, where readers look for them."""
    values = dict.fromkeys(_EMPTY, "") | {"Documentable": "false"}
    rest = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
    return f"<VulnDiscussion>{escape(texts.discussion(rule))}</VulnDiscussion>{rest}"
