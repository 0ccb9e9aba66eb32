"""A benchmark file that an assessor has: its texts, and what is refused. DISA's own stay with DISA: these are of their shape."""

from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from stig import benchmark
from stig.errors import InputError
from stig.reports import ckl, manual, texts
from stig.results import Scan
from stig.rules import Benchmark, Catalogue, Chapter

XCCDF = "http://checklists.nist.gov/xccdf/1.1"


def written(chapter: Chapter, about: Benchmark | None = None, *, without: str = "") -> str:
    """A manual STIG with other words for each rule of the chapter, but for one."""
    named = about or chapter.benchmark
    groups = "".join(
        f'<Group id="{rule.id}"><title>{rule.srg}</title><Rule id="{rule.rule_id}" severity="{rule.severity}">'
        f"<version>{rule.version_id}</version><title>Title of {rule.id}.</title>"
        f"<description>{escape(f'<VulnDiscussion>Why {rule.id} & more.</VulnDiscussion><Documentable>false</Documentable>')}"
        f"</description><fixtext>Mend {rule.id}.</fixtext><check><check-content>Look at {rule.id}.</check-content></check>"
        "</Rule></Group>"
        for rule in chapter.rules
        if rule.id != without
    )
    head = f'<Benchmark xmlns="{XCCDF}" id="{named.id}"><title>{named.title}</title>'
    said = f'<plain-text id="release-info">{named.release}</plain-text><version>{named.version}</version>'
    return f'<?xml version="1.0"?>{head}{said}{groups}</Benchmark>'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where an assessor has the file."""
    return tmp_path / "manual-xccdf.xml"


def test_its_texts_take_the_place_of_ours(path: Path, catalogue: Catalogue, scanned: Scan) -> None:
    """Those of its own STIG only; and the checklist says so."""
    first, second, ours = catalogue.chapters
    path.write_text(written(first), encoding="utf-8")
    given = benchmark.apply(path, catalogue)
    rule = given.chapters[0].rules[0]
    assert (rule.requirement, rule.notes) == (f"Title of {rule.id}.", f"Why {rule.id} & more.")
    assert (rule.check, rule.fix) == (f"Look at {rule.id}.", f"Mend {rule.id}.")
    assert given.chapters[1:] == (second, ours)
    made = ckl.render(scanned, given)
    assert f"Look at {rule.id}." in made
    assert path.name in made
    assert texts.OWN_WORDS in made  # of the other STIG


def test_a_benchmark_of_another_release_is_refused_with_what_was_expected(path: Path, catalogue: Catalogue) -> None:
    """The ids of another release's rules are others."""
    chapter = catalogue.chapters[0]
    old = Benchmark(
        id=chapter.benchmark.id,
        title="x",
        version="2",
        release="Release: 1 Benchmark Date: 31 May 2024",
        target_key="1",
        filename="x",
    )
    path.write_text(written(chapter, old), encoding="utf-8")
    with pytest.raises(InputError) as refused:
        benchmark.apply(path, catalogue)
    assert "version 2" in str(refused.value)
    for one in catalogue.chapters[:2]:
        assert f"{one.benchmark.id}, version {one.benchmark.version}, {one.benchmark.release}" in str(refused.value)


def test_a_benchmark_without_one_of_the_rules_is_refused(path: Path, catalogue: Catalogue) -> None:
    """With the rule that it lacks."""
    chapter = catalogue.chapters[1]
    path.write_text(written(chapter, without=chapter.rules[3].id), encoding="utf-8")
    with pytest.raises(InputError, match=chapter.rules[3].rule_id):
        benchmark.apply(path, catalogue)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not XML"),
        ("<Benchmark/>", "XCCDF 1.1 or 1.2"),
        (f'<Group xmlns="{XCCDF}"/>', "XCCDF 1.1 or 1.2"),
        ('<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>', "XCCDF 1.1 or 1.2"),
        (f'<Benchmark xmlns="{XCCDF}" id="Windows_11_STIG"><version>2</version></Benchmark>', "found Windows_11_STIG"),
    ],
)
def test_what_is_no_benchmark_of_ours_is_refused(text: str, said: str, path: Path, catalogue: Catalogue) -> None:
    """With what was found and what is allowed."""
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        benchmark.apply(path, catalogue)


def test_a_file_that_is_too_long_or_not_there_is_refused(path: Path, catalogue: Catalogue) -> None:
    """Before it is read."""
    with pytest.raises(InputError, match="cannot be read"):
        benchmark.apply(path, catalogue)
    path.touch()
    with path.open("r+b") as file:
        file.truncate(benchmark.MOST_BYTES + 1)
    with pytest.raises(InputError, match="at most"):
        benchmark.apply(path, catalogue)


def test_no_file_beside_it_is_read(path: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    """An entity that names a file stays one."""
    (tmp_path / "secret").write_text("hunter2", encoding="utf-8")
    chapter = catalogue.chapters[0]
    entity = f'<!DOCTYPE Benchmark [<!ENTITY x SYSTEM "{(tmp_path / "secret").as_uri()}">]>'
    body = written(chapter).removeprefix('<?xml version="1.0"?>')
    path.write_text(entity + body.replace(f"Mend {chapter.rules[0].id}.", "Mend &x;"), encoding="utf-8")
    given = benchmark.apply(path, catalogue)
    assert "hunter2" not in given.chapters[0].rules[0].fix


def test_our_own_benchmark_is_not_given_texts(path: Path, catalogue: Catalogue) -> None:
    """Its texts are ours already."""
    path.write_bytes(manual.render(catalogue.chapter("GPOS")))
    with pytest.raises(InputError, match="found Sentry_Appliance_OS_STIG"):
        benchmark.apply(path, catalogue)
