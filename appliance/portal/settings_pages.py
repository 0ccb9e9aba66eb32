"""Pages of settings: the list of all features, and one page for each place of the configuration, made from the schema."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from appliance.config.paths import DEPTH
from appliance.config.schema import Schema, is_index
from appliance.configd.api import DeleteConfig, GetConfig, Refusal, SetConfig
from appliance.configd.client import Refused
from appliance.portal import forms, reading
from appliance.portal.forms import Path, Sheet
from appliance.portal.reading import ABSENT, Edit
from appliance.portal.visit import Frame, Visit

AT = "at"
"""The query word that is given once for each step from a feature to a place below it."""
WORD_CHARACTERS = 512  # of one step, as configd takes it


def address(path: Path) -> str:
    """The address of the page at `path`."""
    below = urlencode([(AT, step) for step in path[1:]])
    return f"/settings/{path[0]}?{below}" if below else f"/settings/{path[0]}"


@dataclass(frozen=True, slots=True)
class SettingsPages:
    """The handlers; `schema` is the appliance's."""

    schema: Schema

    async def every(self, visit: Visit) -> web.Response:
        """The features, with what each is for."""
        features = [
            (address((feature.name,)), feature.label, str(feature.schema.get("meta", {}).get("help", "")))
            for feature in self.schema.features
        ]
        return await visit.page("settings.html.j2", features=features)

    async def one(self, visit: Visit) -> web.Response:
        """The page at one place."""
        path = self._path(visit)
        frame = await visit.frame()
        held = await _held(visit, path, frame)
        return await self._page(visit, self._sheet(path, held), held, frame=frame)

    async def change(self, visit: Visit) -> web.Response:
        """Save, add rows, remove or move; what is wrong is shown beside what was typed."""
        path = self._path(visit)
        frame = await visit.frame()
        held = await _held(visit, path, frame)
        what, _, about = visit.word("do", "save").partition(" ")
        if what in ("remove", "up"):
            return await self._moved(visit, path, what, about)
        sheet = self._sheet(path, held)
        if not sheet.parts:
            raise web.HTTPBadRequest
        taken = reading.read(self.schema, sheet, held, visit.posted)
        if what == "more":
            return await self._page(visit, reading.with_more_rows(self.schema, taken.typed, about), held, frame=frame)
        problems = taken.problems or await self._saved(visit, sheet, held, taken.edits)
        if problems:
            frame = await visit.frame()
            typed = forms.with_problems(taken.typed, problems)
            return await self._page(visit, typed, held, frame=frame, status=422)
        number = len(taken.edits)
        visit.say(
            f"{number} {'setting is' if number == 1 else 'settings are'} in your candidate. Review and commit to make it real."
            if number
            else "Nothing was changed."
        )
        return visit.go(address(path))

    async def _saved(self, visit: Visit, sheet: Sheet, held: Any, edits: tuple[Edit, ...]) -> tuple[str, ...]:
        """Put the edits into the candidate, all or none; the problems that configd has with them."""
        if not edits and (held is not None or sheet.kind != "group"):
            return ()
        try:
            if len(edits) == 1 and (held is not None or sheet.kind != "group"):
                await _put(visit, edits[0])
            else:  # at once, so that no half of it is in the candidate when the other half is refused
                whole = reading.merged(sheet, held, edits)
                await visit.call(SetConfig, None, path=sheet.path, value=whole)
        except Refused as refused:
            return _problems(refused.refusal)
        return ()

    async def _moved(self, visit: Visit, path: Path, what: str, name: str) -> web.Response:
        """Remove what is at `path` or, with a name, the instance below it; or move an item of a list one place up."""
        target = (*path, name) if name else path
        try:
            if what == "remove":
                await visit.call(DeleteConfig, None, path=target)
                visit.say(f"{name or path[-1]} is removed in your candidate.")
            elif is_index(name) and int(name) > 0:
                items = await visit.call(GetConfig, view="candidate", path=path)
                if not isinstance(items, list):
                    raise web.HTTPBadRequest
                number = int(name)
                items[number - 1 : number + 1] = reversed(items[number - 1 : number + 1])
                await visit.call(SetConfig, None, path=path, value=items)
                visit.say(f"Item {number + 1} is now item {number} in your candidate.")
        except Refused as refused:
            if refused.refusal.kind == "session":
                raise
            visit.say("\n".join(_problems(refused.refusal)), good=False)
        return visit.go(address(path if name else path[:-1] if len(path) > 1 else path))

    def _path(self, visit: Visit) -> Path:
        """The place that the address names. Raises HTTP 404 for one that the schema does not know."""
        path = (visit.request.match_info["feature"], *visit.request.query.getall(AT, ()))
        fits = len(path) <= DEPTH and all(0 < len(step) <= WORD_CHARACTERS and step.isprintable() for step in path)
        if not fits or self.schema.rules_at(path) is None:
            raise web.HTTPNotFound
        return path

    def _sheet(self, path: Path, held: Any) -> Sheet:
        made = forms.sheet(self.schema, path, held)
        if made is None:
            raise web.HTTPNotFound
        return made

    async def _page(self, visit: Visit, sheet: Sheet, held: Any, *, frame: Frame, status: int = 200) -> web.Response:
        trail = [(address(path), label) for path, label in forms.trail(self.schema, sheet.path)]
        title = forms.name_of(self.schema, sheet.path) if _is_instance(self.schema, sheet.path) else sheet.label
        return await visit.page(
            "sheet.html.j2",
            status=status,
            frame=frame,
            sheet=sheet,
            title=title,
            trail=trail,
            address=address,
            new=held is None and len(sheet.path) > 1,
            removable=_is_instance(self.schema, sheet.path) and held is not None,
            may_change=visit.role == "administrator",
            next_item=str(len(sheet.instances)),
        )


def _is_instance(schema: Schema, path: Path) -> bool:
    """Whether `path` is a named instance or an item of a list."""
    above = schema.rules_at(path[:-1]) if len(path) > 1 else None
    return above is not None and path[-1] not in (above.get("schema", {}) if above.get("type") == "dict" else {})


async def _held(visit: Visit, path: Path, frame: Frame) -> Any:
    """What is configured at `path`: in the candidate where there is one, else what runs, which is quicker; None: nothing."""
    try:
        return await visit.call(GetConfig, view="candidate" if frame.changes else "running", path=path)
    except Refused as refused:
        if refused.refusal.kind != "invalid":
            raise
        return None


async def _put(visit: Visit, edit: Edit) -> None:
    if edit.value is ABSENT:
        await visit.call(DeleteConfig, None, path=edit.path)
    else:
        await visit.call(SetConfig, None, path=edit.path, value=edit.value)


def _problems(refusal: Refusal) -> tuple[str, ...]:
    """What is wrong; an ended session and what is not about the values is raised as it was."""
    if refusal.kind != "invalid":
        raise Refused(refusal)
    return refusal.problems or (refusal.message,)
