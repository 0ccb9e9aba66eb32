"""What mypyc asks of the sources beyond what its compiler says itself."""

import importlib
import inspect
import pkgutil

import sentry_runtime
from images.native.modules import listed
from images.paths import REPO


def test_no_class_that_is_not_compiled_has_a_compiled_base() -> None:
    """It could be defined, but none of it be made ("interpreted classes cannot inherit from compiled")."""
    compiled = frozenset(listed(REPO))
    found = []
    for module in pkgutil.walk_packages(sentry_runtime.__path__, "sentry_runtime."):
        if module.name in compiled or module.name.endswith("__main__"):
            continue
        for name, one in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            bases = {base.__module__ for base in one.__mro__[1:]}
            if one.__module__ == module.name and compiled & bases:
                found.append(f"{module.name}.{name}")
    assert not found
