"""The operating system: each rule is a row of a table, which knows the facts it needs and how they are judged."""

import pytest

from stig.answers import Answers
from stig.facts import Facts
from stig.platform import PROOFS, SITE_PROOFS
from stig.platform.proof import Proof, SiteProof
from stig.recorder import Prove


@pytest.mark.parametrize("proof", [pytest.param(one, id=one.rule, marks=pytest.mark.stig(one.rule)) for one in PROOFS])
def test_a_rule_of_the_operating_system(proof: Proof, facts: Facts, prove: Prove) -> None:
    """By the facts alone."""
    prove(proof.verdict(facts))


@pytest.mark.parametrize(
    "proof", [pytest.param(one, id=one.rule, marks=pytest.mark.stig(one.rule)) for one in SITE_PROOFS]
)
def test_a_rule_that_the_site_says_something_about(
    proof: SiteProof, facts: Facts, answers: Answers, prove: Prove
) -> None:
    """By the facts and by what only the site can say."""
    prove(proof.verdict(facts, answers))
