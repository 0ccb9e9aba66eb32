"""Reads a WAP provisioning document (OMA-WAP-TS-ProvCont 1.1), as servers send it to clients of ActiveSync 2.5."""

from xml.parsers import expat

from sentry_runtime.eas.policy import Parameter, PolicyError

DEPTH = 8  # real ones have four levels
PARAMETERS = 1_024  # real ones have seven


class _Reader:
    """Collects the parameters of a document; no DTD, so there is nothing to expand and nothing to fetch."""

    def __init__(self) -> None:
        self.found: list[Parameter] = []
        self._open: list[tuple[str, str]] = []  # name and type

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= DEPTH:
            raise PolicyError(f"a WAP document deeper than {DEPTH} elements")
        around = self._open[-1][0] if self._open else ""
        if (around, name) not in _NESTING or (name != _PARAMETER and not attributes.keys() <= {"type"}):
            raise PolicyError(f"{name[:32]!r} with {', '.join(attributes)[:64]!r} in {around[:32]!r} of a WAP document")
        if name == _PARAMETER:
            if len(self.found) >= PARAMETERS:
                raise PolicyError(f"more than {PARAMETERS} parameters in a WAP document")
            path = tuple(kind for _, kind in self._open[1:])
            self.found.append(Parameter(path, tuple(attributes.items())))
        self._open.append((name, attributes.get("type", "")))

    def end(self, _name: str) -> None:
        self._open.pop()

    def text(self, text: str) -> None:
        if text.strip():
            raise PolicyError(f"the text {text.strip()[:32]!r} in a WAP document")


_ROOT, _CHARACTERISTIC, _PARAMETER = "wap-provisioningdoc", "characteristic", "parm"
_NESTING = {
    ("", _ROOT),
    (_ROOT, _CHARACTERISTIC),
    (_CHARACTERISTIC, _CHARACTERISTIC),
    (_CHARACTERISTIC, _PARAMETER),
}


def _refused(*_: object) -> int:
    raise PolicyError("a DTD or a processing instruction in a WAP document")


def parameters(text: str) -> list[Parameter]:
    """All parameters of a WAP provisioning document, in order. Raises `PolicyError` for what is none."""
    parser = expat.ParserCreate("utf-8")
    reader = _Reader()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refused
    parser.EntityDeclHandler = _refused
    parser.ExternalEntityRefHandler = _refused
    parser.ProcessingInstructionHandler = _refused
    try:
        parser.Parse(text.encode(), True)  # noqa: FBT003 - expat's signature: this is all of it
    except expat.ExpatError as error:
        raise PolicyError(f"a WAP document that is no XML: {expat.ErrorString(error.code)}") from None
    return reader.found
