"""What STIG scans look at, and the appliance's scan of itself."""

from typing import Literal

import msgspec

from appliance.configd.api.words import SessionVerb, Word


class ReadFact(SessionVerb, frozen=True, kw_only=True, tag="stig.fact"):
    """What a fact of the closed list is, which a STIG scan judges by (`show facts` has the list). Result: `Fact`."""

    name: Word


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """`command` is what root has run for it, `listed` the same as the list has it, before account and addresses were filled in;
    `status` its exit status, `output` and `errors` what it printed."""

    fact: str
    listed: tuple[str, ...]
    command: str
    status: int
    output: str
    errors: str


class StartScan(SessionVerb, frozen=True, kw_only=True, tag="stig.scan"):
    """Have the appliance scan itself by the STIGs' rules now; a scan that runs already is the one. Result: None."""


ReportForm = Literal["ckl", "cklb", "html", "json"]


class ReadReport(SessionVerb, frozen=True, kw_only=True, tag="stig.report"):
    """A report of the appliance's last scan of itself: a checklist, the page for people, or the results. Result: `Report`."""

    form: ReportForm


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A file: what it is called, what it is (a media type), and its text."""

    name: str
    media_type: str
    text: str
