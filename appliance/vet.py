"""Before anything is touched: every rendered file in a staging folder, looked at by the daemons' own checkers."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from appliance.features.base import Check, Feature, System
from appliance.plan import InvalidError, Plan
from appliance.process import CommandError

_STAGED = re.compile(r"\{(/[^{}]+)\}")


class ApplyError(RuntimeError):
    """A commit failed; the message names the feature and the file or unit, and says whether the old revision stands."""


def vet(features: Iterable[Feature], made: Plan, staging: Path, machine: System) -> None:
    """Stage the files of `made` below `staging` (root only, gone afterwards) and ask each feature's checkers about them.

    Raises `InvalidError` where this machine forbids a setting, `ApplyError` with the feature, the files and the checker's
    words.
    """
    for feature in features:
        _look(feature, made, machine)
    try:
        _staged_all(made, staging)
        for feature in features:
            for check in feature.checks:
                if not check.needs or set(check.needs).intersection(made.write):
                    _ask(feature.name, check, made, staging, machine)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _look(feature: Feature, made: Plan, machine: System) -> None:
    try:
        problems = tuple(feature.on_machine(made.tree, machine))
    except Exception as error:  # a feature's own look at the machine may raise anything; it is raised on, with its name
        raise ApplyError(f"{feature.name}: {error}; nothing was changed") from error
    if problems:
        raise InvalidError(problems)


def _staged_all(made: Plan, staging: Path) -> None:
    try:
        _stage(made, staging)
    except OSError as error:
        said = error.strerror or str(error)
        raise ApplyError(f"{staging}: cannot be written: {said}; {made.told()}nothing was changed") from error


def _stage(made: Plan, staging: Path) -> None:
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(mode=0o700, parents=True)
    for path, (_feature, file) in made.files.items():
        place = _staged(staging, path)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.touch(mode=0o600)
        place.write_text(file.text)


def _staged(staging: Path, path: str) -> Path:
    return staging / path.lstrip("/")


def _ask(feature: str, check: Check, made: Plan, staging: Path, machine: System) -> None:
    argv = [_STAGED.sub(lambda found: str(_staged(staging, found[1])), word) for word in check.argv]
    try:
        machine.run(argv)
    except CommandError as error:
        files = ", ".join(check.needs) or "its files"
        said = error.output.replace(str(staging), "") or "no reason given"
        raise ApplyError(
            f"{feature}: {check.argv[0]} refuses {files}: {said}; {made.told()}nothing was changed"
        ) from error
