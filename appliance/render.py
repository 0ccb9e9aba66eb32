"""From a configuration to files: every feature's `render`."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import jinja2

from appliance.features.base import Feature, File, Flow, Tree


class RenderError(RuntimeError):
    """A feature could not be rendered, or two features claim one file; the message names them."""


def render_all(tree: Tree, features: Iterable[Feature]) -> dict[str, File]:
    """Every file of the configuration. Raises `RenderError` where two features claim a path or a template fails."""
    return {path: file for path, (_feature, file) in render_owned(tree, features).items()}


def render_owned(tree: Tree, features: Iterable[Feature]) -> dict[str, tuple[str, File]]:
    """As `render_all`, with the name of the feature that owns each file."""
    files: dict[str, tuple[str, File]] = {}
    for feature in features:
        for path, file in _render(feature, tree).items():
            if not path.startswith("/") or ".." in Path(path).parts:
                raise RenderError(f"{feature.name} renders {path!r}; a path must be absolute and plain")
            if path in files:
                raise RenderError(f"{path} is rendered by {files[path][0]} and by {feature.name}")
            files[path] = (feature.name, file)
    return files


def _render(feature: Feature, tree: Tree) -> Mapping[str, File]:
    try:
        return feature.render(tree)
    except (jinja2.TemplateError, KeyError, ValueError, TypeError, AttributeError) as error:
        # A value the schema let through and the template cannot show: our mistake, but the administrator must see where.
        raise RenderError(f"{feature.name} could not be rendered: {type(error).__name__}: {error}") from error


def flows(tree: Tree, features: Iterable[Feature]) -> tuple[Flow, ...]:
    """Every network flow the configuration needs."""
    return tuple(flow for feature in features for flow in feature.flows(tree))
