"""What can go wrong with a scan as a whole, and with one look at the machine."""


class StigError(Exception):
    """Anything this room raises on purpose."""


class InputError(StigError):
    """A file or option given to the scanner is wrong: where, what was found and what is allowed."""


class ScanError(StigError):
    """The scan itself failed: no trustworthy result can be written."""


class FactError(StigError):
    """A look at the machine failed (unreachable, refused, missing, unreadable), so nothing is known.

    The rule that needed it ends as `error` with this message, never as a pass or a finding.
    """
