"""Templates to text: strict about what is undefined, and escaping nothing (what they make is no HTML)."""

from pathlib import Path
from typing import Any

import jinja2

TEMPLATES = Path(__file__).parent.parent / "templates"

_environment = jinja2.Environment(  # noqa: S701 - daemons' configuration; every value has passed its schema
    loader=jinja2.FileSystemLoader(TEMPLATES),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def filled(name: str, /, **values: Any) -> str:
    """The text of template `name` (below `appliance/templates/`) with `values`; an undefined one raises `UndefinedError`."""
    return _environment.get_template(name).render(values)
