"""Editing: each session's candidate, from the first change to the commit."""

from collections.abc import Mapping
from typing import Any

from appliance.apply import Engine, Order
from appliance.config import migrations, paths
from appliance.config.diff import diff, digest
from appliance.config.secrets import conceal, masked, too_long, unmask
from appliance.configd import api
from appliance.configd.errors import refused
from appliance.configd.sessions import Candidate, Held
from appliance.plan import InvalidError, accept


class Candidates:
    """The verbs that edit. Every one holds the vault's guard, so that no commit collects a secret just typed in."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._schema = engine.schema
        self._vault = engine.vault

    def running(self) -> dict[str, Any]:
        """The running configuration; empty before the first commit."""
        current = self._engine.store.current()
        return current.tree if current else {}

    def of(self, held: Held) -> Candidate:
        """The session's candidate; a fresh one (defaults filled in) when it has changed nothing yet."""
        if held.candidate is not None:
            return held.candidate
        running = self.running()
        return Candidate(self._schema.fill(running), digest(running))

    def get(self, held: Held, view: api.View, path: api.Path) -> Any:
        """The configuration below `path`, masked. Raises `PathError`."""
        tree = self.of(held).tree if view == "candidate" else self.running()
        return masked(paths.get(tree, path))

    def set(self, held: Held, path: api.Path, value: Any) -> None:
        """Set one value; raises `PathError` or `InvalidError`."""
        with self._vault.guard:
            before = self.of(held)
            self._edit(held, before, paths.put(self._schema, before.tree, path, value), path)

    def delete(self, held: Held, path: api.Path, item: Any) -> None:
        """Remove one value, or one item of a list; raises `PathError` or `InvalidError`."""
        with self._vault.guard:
            before = self.of(held)
            self._edit(held, before, paths.remove(self._schema, before.tree, path, item), path)

    def _edit(self, held: Held, before: Candidate, tree: Mapping[str, Any], path: api.Path) -> None:
        plain, problems = unmask(self._schema, tree, before.tree, self._vault)
        problems += paths.problems_at(self._schema, plain, path)
        filled = self._schema.fill(plain)
        problems = problems or too_long(self._schema, filled)
        if problems:
            raise InvalidError(problems)
        held.candidate = Candidate(conceal(self._schema, filled, self._vault), before.base)

    def replace(self, held: Held, tree: Mapping[str, Any]) -> None:
        """Replace the whole candidate; raises `InvalidError`. It is based on what runs now; a tree that was written for an
        earlier version (`version` in it) is brought here."""
        with self._vault.guard:
            running = self.running()
            try:
                brought = migrations.taken(tree)
            except migrations.VersionError as error:
                raise InvalidError((error.problem,)) from error
            accepted = accept(self._schema, brought, self.of(held).tree, self._vault)
            held.candidate = Candidate(accepted, digest(running))

    def merge(self, held: Held, patch: Mapping[str, Any]) -> None:
        """Lay `patch` over the candidate (RFC 7396); raises `InvalidError`."""
        with self._vault.guard:
            before = self.of(held)
            merged = paths.merged(before.tree, patch)
            held.candidate = Candidate(accept(self._schema, merged, before.tree, self._vault), before.base)

    def configuration(self) -> api.Configuration:
        """What runs, masked, with its digest."""
        current = self._engine.store.current()
        tree = current.tree if current else {}
        return api.Configuration(
            revision=current.number if current else 0, digest=digest(tree), tree=dict(masked(tree))
        )

    def changes(self, held: Held) -> tuple[api.Change, ...]:
        """What the candidate would change."""
        return diff(self.running(), self.of(held).tree) if held.candidate else ()

    def order(self, held: Held, verb: api.Commit) -> Order:
        """The session's candidate as an order to commit."""
        candidate = self.of(held)
        if verb.digest and verb.digest != candidate.base:
            raise refused("conflict", "the configuration is not the one with this digest any more; read it anew")
        return Order(
            tree=candidate.tree,
            base=candidate.base,
            user=held.user,
            comment=verb.comment,
            confirm_minutes=verb.confirm_minutes,
        )
