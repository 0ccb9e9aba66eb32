"""What has changed since an earlier scan."""

import msgspec
import pytest

from stig import difference
from stig.difference import Change
from stig.errors import InputError
from stig.reports import page
from stig.results import Scan
from stig.rules import Catalogue
from stig.verdict import Status


def ended(scan: Scan, rule: str, status: Status) -> Scan:
    """The scan, had this rule ended so."""
    rows = tuple(
        msgspec.structs.replace(result, status=status) if result.rule == rule else result for result in scan.results
    )
    return msgspec.structs.replace(scan, results=rows)


def of(scan: Scan, status: Status) -> list[str]:
    """The rules that ended so."""
    return [result.rule for result in scan.results if result.status == status]


def test_only_what_changed_is_named_and_what_got_worse_first(scanned: Scan) -> None:
    """What was met and is open is worse; what was open and is met is not."""
    mended, broken = of(scanned, "open")[0], of(scanned, "not_a_finding")[0]
    later = ended(ended(scanned, mended, "not_a_finding"), broken, "open")
    found = difference.between(scanned, later)
    assert found.since == scanned.finished
    assert [change.rule for change in found.changes] == [broken, mended]
    assert [change.worse for change in found.changes] == [True, False]
    assert difference.between(scanned, scanned).changes == ()


def test_a_rule_that_one_scan_does_not_have_is_a_change(scanned: Scan) -> None:
    """A release may add rules."""
    earlier = msgspec.structs.replace(scanned, results=scanned.results[1:])
    first = scanned.results[0]
    assert difference.between(earlier, scanned).changes == (Change(first.rule, None, first.status),)


def test_a_scan_of_another_machine_is_refused(scanned: Scan) -> None:
    """Before anything is scanned."""
    assert difference.comparable(scanned, scanned.asset.name) is scanned
    with pytest.raises(InputError, match=scanned.asset.name):
        difference.comparable(scanned, "another")


def test_the_page_says_what_has_changed(scanned: Scan, catalogue: Catalogue) -> None:
    """Or that nothing has; without an earlier scan it says nothing of it."""
    mended = of(scanned, "open")[0]
    later = ended(scanned, mended, "not_a_finding")
    assert f'href="#{mended}"' in page.render(later, catalogue, difference.between(scanned, later))
    assert "Every rule ended as it did then." in page.render(scanned, catalogue, difference.between(scanned, scanned))
    assert "Since the scan of" not in page.render(scanned, catalogue)
