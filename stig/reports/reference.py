"""Our rules of the operating system as a page for people, and which requirements of the SRG they answer."""

from collections.abc import Iterator

from stig.rules import CATEGORY, Chapter, Rule

_INTRODUCTION = """\
# The rules of the operating system

Made by `python -m stig reference`; a test holds it to the catalogue (`stig/catalogue/platform.yaml` and `gpos.yaml`). The rules
are this project's own, made from DISA's General Purpose Operating System SRG. `python -m stig benchmark FILE` writes them as a
manual STIG.
"""


def render(chapter: Chapter) -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, *_rules(chapter), "", *_requirements(chapter), ""])


def _rules(chapter: Chapter) -> Iterator[str]:
    yield f"## {len(chapter.rules)} rules"
    yield ""
    yield "| rule | CAT | what it asks | how it is looked at | mended in |"
    yield "|---|---|---|---|---|"
    for rule in chapter.rules:
        mended = f"`{rule.mended_in}`" if rule.mended_in else ""
        yield f"| {rule.id} | {rule.category} | {_cell(rule.requirement)} | {_cell(_looked_at(rule))} | {mended} |"


def _looked_at(rule: Rule) -> str:
    return rule.check if rule.not_reviewed is None else f"Not reviewed ({rule.kind}): {rule.not_reviewed}"


def _requirements(chapter: Chapter) -> Iterator[str]:
    yield f"## {len(chapter.requirements)} requirements"
    yield ""
    yield "| requirement | CAT | about | CCI | answered by |"
    yield "|---|---|---|---|---|"
    answers: dict[str, list[str]] = {}
    for rule in chapter.rules:
        for name in rule.srgs:
            answers.setdefault(name, []).append(rule.id.removeprefix("SENTRY-OS-"))
    for one in chapter.requirements:
        by = f"Not applicable: {one.not_applicable}" if one.not_applicable else ", ".join(answers[one.id])
        yield f"| {one.id} | {CATEGORY[one.severity]} | {_cell(one.about)} | {', '.join(one.cci)} | {_cell(by)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
