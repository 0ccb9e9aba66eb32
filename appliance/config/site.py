"""A site configuration: one YAML file of the operator, read and checked before anything is sent to an appliance.

    python -m appliance.config.site [--check] FILE

prints the tree as JSON, with its version (with `--check`: nothing). `!file PATH` puts the text of a local file there, so that
secrets and keys stay out of it; PATH is relative to the site file. Problems go to standard error, one line each; exit status 1.
"""

import argparse
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from appliance.config import migrations
from appliance.config.schema import Schema
from appliance.config.secrets import Memory
from appliance.features import FEATURES
from appliance.plan import InvalidError, accept

SITE_BYTES = 4_194_304  # as much as configd takes in one message
FILE_BYTES = 1_048_576  # of one `!file`: a bundle of certificates is a quarter of this
FILE_TAG = "!file"


class SiteError(ValueError):
    """A site file that cannot be read; the message names the file and the place in it."""


def load(path: Path) -> dict[str, Any]:
    """The tree of the site file at `path`, `!file` resolved, brought to this version, not yet checked. Raises `SiteError`."""
    try:
        if path.stat().st_size > SITE_BYTES:
            raise SiteError(f"{path}: found more than {SITE_BYTES} bytes; allowed: a site configuration")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SiteError(f"{path}: cannot be read: {error}") from error
    return parsed(text, str(path), beside=path)


def parsed(text: str, name: str, *, beside: Path | None = None) -> dict[str, Any]:
    """The tree of a site configuration, brought to this version, not yet checked. `name` stands in errors; `!file` is known
    where there is a file that it is `beside`, and without one an error repeats nothing of the text. Raises `SiteError`."""
    if len(text) > SITE_BYTES:
        raise SiteError(f"{name}: found more than {SITE_BYTES} bytes; allowed: a site configuration")
    try:
        loader = _Loader(text, name, beside)
        try:
            tree = loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise SiteError(f"{name}: {error if beside else _place(error)}") from error
    if not isinstance(tree, dict):
        raise SiteError(f"{name}: found {type(tree).__name__}; allowed: settings (keys and values)")
    try:
        return migrations.taken(tree)
    except migrations.VersionError as error:
        raise SiteError(f"{name}: {error}") from error


def _place(error: yaml.YAMLError) -> str:
    """What is wrong and where, without the lines around it: there may be secrets on them."""
    mark = getattr(error, "problem_mark", None)
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
    return f"is not YAML: {getattr(error, 'problem', None) or type(error).__name__}{where}"


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key may stand once and `!file` is known."""

    def __init__(self, text: str, name: str, site: Path | None) -> None:
        super().__init__(text)
        self.name = name
        self.site = site

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - PyYAML's
        self.flatten_mapping(node)
        seen: set[Hashable] = set()
        for key_node, _value in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_file(self, node: yaml.Node) -> str:
        """The text of the file a `!file` names, without one last line end."""
        if self.site is None:
            said = f"{FILE_TAG} is known in an operator's site file only"
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark)
        if not isinstance(node, yaml.ScalarNode) or not node.value:
            raise yaml.constructor.ConstructorError(None, None, f"{FILE_TAG} wants a path", node.start_mark)
        place = self.site.parent / Path(node.value).expanduser()
        try:
            if place.stat().st_size > FILE_BYTES:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{place}: more than {FILE_BYTES} bytes", node.start_mark
                )
            text = place.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            said = f"{FILE_TAG} {node.value}: {place} cannot be read: {error}"
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark) from error
        return text.removesuffix("\n").removesuffix("\r")


_Loader.add_constructor(FILE_TAG, _Loader.construct_file)


def check(tree: dict[str, Any], schema: Schema) -> None:
    """Hold a tree against the schema as the appliance will. Raises `InvalidError`."""
    accept(schema, tree, {}, Memory())


def main(argv: list[str] | None = None) -> int:
    """Read, check and print one site file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="print nothing but problems")
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args(argv)
    try:
        tree = load(arguments.file)
        check(tree, Schema(FEATURES))
    except SiteError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except InvalidError as error:
        sys.stderr.writelines(f"{problem}\n" for problem in error.problems)
        return 1
    if not arguments.check:
        sys.stdout.write(msgspec.json.encode(migrations.marked(tree), order="deterministic").decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
