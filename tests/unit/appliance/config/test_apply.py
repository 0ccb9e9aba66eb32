"""The commit: all of it happens, or none of it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from appliance.apply import ConflictError, Order
from appliance.config.store import MAX_REVISIONS
from appliance.features.base import Feature, File, Problem, Tree, Unit
from appliance.plan import InvalidError
from appliance.render import RenderError
from appliance.system import Held, Machine
from appliance.vet import ApplyError
from tests.unit.appliance.workbench import FEATURES, KEY, WEB, Bench, Crash

FIRST: dict[str, Any] = {"name": "box"}
SECOND: dict[str, Any] = {"name": "other", "web": {"port": 9443, "words": ["a"], "sites": {"one": {"root": "/srv"}}}}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def running(bench: Bench) -> Bench:
    bench.commit(FIRST)
    bench.commands.log.clear()
    bench.steps.clear()
    return bench


def test_the_first_commit_renders_every_file_and_makes_revision_one(bench: Bench) -> None:
    done = bench.commit(FIRST, comment="hello")
    assert (done.changed, done.revision) == (True, 1)
    assert done.files == ("/etc/name", WEB)
    assert done.units == ("web.service",)
    assert bench.text("/etc/name") == "box\n"
    assert (bench.root / "etc/web/web.conf").stat().st_mode & 0o777 == 0o640
    assert bench.commands.kernel_name == "box"
    assert [(one.number, one.user, one.comment, one.current) for one in bench.store.revisions()] == [
        (1, "tester", "hello", True)
    ]


def test_the_first_commit_must_hold_everything_that_is_required(bench: Bench) -> None:
    with pytest.raises(InvalidError, match="name: found nothing; allowed: 1 to 8 lower-case letters"):
        bench.commit({"web": {"port": 80}})
    assert bench.files() == {}
    assert bench.store.running() is None


def test_the_same_tree_again_changes_nothing_and_makes_no_revision(running: Bench) -> None:
    before = (running.root / "etc/name").stat()
    done = running.commit(FIRST)
    assert (done.changed, done.revision, done.files, done.units) == (False, 1, (), ())
    assert running.commands.acted() == []
    assert (running.root / "etc/name").stat().st_ino == before.st_ino


def test_a_file_edited_by_hand_is_drift_and_is_written_anew_without_a_revision(running: Bench) -> None:
    (running.root / "etc/web/web.conf").write_text("port 1\n")
    done = running.commit(FIRST)
    assert (done.changed, done.revision, done.files, done.units) == (True, 1, (WEB,), ("web.service",))
    assert (running.text(WEB) or "").startswith("port 8443\n")


def test_a_mode_changed_by_hand_is_drift(running: Bench) -> None:
    (running.root / "etc/name").chmod(0o666)
    assert running.commit(FIRST).files == ("/etc/name",)
    assert (running.root / "etc/name").stat().st_mode & 0o777 == 0o644


def test_what_has_no_file_is_brought_in_step_too(running: Bench) -> None:
    (running.root / "kernel-name").write_text("drifted")
    done = running.commit(FIRST)
    assert (done.changed, done.revision) == (True, 1)
    assert running.commands.kernel_name == "box"


def test_a_file_that_is_no_longer_rendered_is_removed(running: Bench) -> None:
    running.commit(SECOND)
    assert running.text("/etc/web/sites/one") == "root /srv\n"
    done = running.commit(FIRST)
    assert "/etc/web/sites/one" in done.files
    assert running.text("/etc/web/sites/one") is None


def test_only_units_whose_files_changed_take_notice(running: Bench) -> None:
    done = running.commit({"name": "new"})
    assert (done.files, done.units) == (("/etc/name",), ())
    assert running.commands.acted() == []


def test_a_check_changes_nothing_and_tells_what_would_change(running: Bench) -> None:
    files = running.files()
    done = running.engine.check(running.order(SECOND))
    assert done.changed
    assert (done.revision, done.files, done.units) == (1, ("/etc/name", "/etc/web/sites/one", WEB), ("web.service",))
    assert running.files() == files
    assert running.commands.acted() == []


def test_a_symbolic_link_is_replaced_and_comes_back_when_the_commit_fails(bench: Bench) -> None:
    (bench.root / "etc").mkdir()
    (bench.root / "etc/name").symlink_to("../elsewhere")
    bench.commands.dies_after = {"web.service"}
    with pytest.raises(ApplyError):
        bench.commit(FIRST)
    assert (bench.root / "etc/name").readlink() == Path("../elsewhere")
    bench.commands.dies_after = set()
    bench.commit(FIRST)
    assert not (bench.root / "etc/name").is_symlink()


# --- what is refused ---------------------------------------------------------------------------------------------


def test_a_wrong_value_is_refused_with_path_found_and_allowed(running: Bench) -> None:
    with pytest.raises(InvalidError) as refused:
        running.commit({"name": "box", "web": {"port": 70000, "prot": 1}})
    assert [str(problem) for problem in refused.value.problems] == [
        "web.port: found 70000; allowed: a whole number from 1 to 65535",
        "web.prot: found an unknown setting; allowed: port (did you mean that?), or one of: on, port, sites, token, words",
    ]
    assert running.steps == []


def test_a_rule_between_fields_is_held(running: Bench) -> None:
    with pytest.raises(InvalidError, match=r"web\.port: found 22, which is SSH's; allowed: a port of its own"):
        running.commit({"name": "box", "web": {"port": 22}})


def test_who_edits_what_changed_meanwhile_is_told_by_whom(running: Bench) -> None:
    stale = running.digest()
    running.commit(SECOND)
    with pytest.raises(ConflictError, match=r"changed meanwhile by tester \(revision 2\)"):
        running.engine.commit(Order(tree=FIRST, base=stale, user="second"))
    assert running.text("/etc/name") == "other\n"


def test_the_daemons_own_checker_refuses_before_anything_is_touched(running: Bench) -> None:
    files = running.files()
    with pytest.raises(
        ApplyError,
        match=rf"web: webd refuses {WEB}: .*{WEB}: line 1: a bad word; in the commit: name, web\.words; nothing was changed",
    ):
        running.commit({"name": "other", "web": {"words": ["nonsense"]}})
    assert running.files() == files
    assert not (running.folder / "config/staging").exists()


def test_two_features_cannot_own_one_file(tmp_path: Path) -> None:
    thief = Feature(name="thief", label="T", schema={"type": "dict"}, default={}, render=lambda _t: {WEB: File("mine")})
    bench = Bench(tmp_path, (*FEATURES, thief))
    with pytest.raises(RenderError, match=f"{WEB} is rendered by web and by thief"):
        bench.commit(FIRST)


def test_a_feature_that_cannot_be_rendered_is_named(tmp_path: Path) -> None:
    broken = Feature(
        name="broken", label="B", schema={"type": "dict"}, default={}, render=lambda tree: {"/x": tree["no"]}
    )
    with pytest.raises(RenderError, match="broken could not be rendered: KeyError: 'no'"):
        Bench(tmp_path, (*FEATURES, broken)).commit(FIRST)


# --- failures while applying -------------------------------------------------------------------------------------


def _stands_again(bench: Bench, files: dict[str, tuple[str, int]], tree: dict[str, Any]) -> None:
    assert bench.files() == files
    assert bench.running() == tree
    assert bench.store.journal() is None
    assert bench.commands.kernel_name == tree["name"]


def test_a_unit_that_does_not_come_back_brings_the_old_revision_back(running: Bench) -> None:
    files, tree = running.files(), running.running()
    running.commands.dies_after = {"web.service"}
    with pytest.raises(ApplyError) as failed:
        running.commit(SECOND)
    assert str(failed.value) == (
        f"web: web.service (reload for {WEB}): is failed after its reload: web: line 7: no such word; "
        "in the commit: name, web.port, web.sites.one.level, web.sites.one.root, web.words; the old revision stands again"
    )
    _stands_again(running, files, tree)
    assert running.commands.acted() == ["reload-or-restart -- web.service"] * 2


def test_a_unit_whose_files_were_not_there_before_is_not_told_to_read_them_anew(bench: Bench) -> None:
    """It would go on by those of the commit that failed: the packet filter, which is closed until the first one, stayed open."""
    bench.commands.dies_after = {"web.service"}
    with pytest.raises(ApplyError, match="the old revision stands again"):
        bench.commit(FIRST)
    assert bench.files() == {}
    assert bench.commands.acted() == ["reload-or-restart -- web.service", "restart -- web.service"]


def test_a_reconcile_that_fails_names_its_feature(running: Bench) -> None:
    files, tree = running.files(), running.running()
    running.commands.failing = {"hostname"}
    with pytest.raises(ApplyError, match=r"name: bringing the system in step: .*hostname is told to fail"):
        running.commit(SECOND)
    running.commands.failing = set()
    assert running.files() == files
    assert running.running() == tree


def test_when_going_back_fails_too_it_is_said_and_the_next_start_tries_again(running: Bench) -> None:
    files = running.files()
    running.commands.failing = {"systemctl reload-or-restart"}
    with pytest.raises(ApplyError, match=r"the old revision could NOT be restored: web\.service"):
        running.commit(SECOND)
    running.commands.failing = set()
    assert running.restart() == "an interrupted commit was undone; the old revision stands"
    assert running.files() == files
    assert running.store.journal() is None


def test_what_could_not_be_undone_is_undone_before_the_next_commit(running: Bench) -> None:
    running.commands.failing = {"systemctl reload-or-restart"}
    with pytest.raises(ApplyError, match="could NOT be restored"):
        running.commit(SECOND)
    running.commands.failing = set()
    running.commands.log.clear()
    done = running.commit({"name": "third"})
    assert (done.revision, done.files) == (2, ("/etc/name",))
    assert running.commands.acted() == ["--no-block reload-or-restart -- web.service"]
    assert running.store.journal() is None


def test_something_else_that_writes_our_file_is_seen(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    def spoil(_tree: Any, _system: Any) -> bool:
        (bench.root / "etc/web/web.conf").write_text("spoilt")
        return False

    spoiler = Feature(name="spoiler", label="S", schema={"type": "dict"}, default={}, reconcile=spoil)
    bench = Bench(tmp_path, (*FEATURES, spoiler))
    with pytest.raises(ApplyError, match=f"web: {WEB} is not what was written"):
        bench.commit(FIRST)


def test_a_port_nobody_listens_on_any_more_brings_the_old_revision_back(running: Bench) -> None:
    files, tree = running.files(), running.running()
    running.commands.units["sentry-tls-proxy.service"] = "active"
    running.commands.listen(8443)
    with pytest.raises(ApplyError, match=r"nobody listens on port 9443 \(sentry-tls-proxy.service\) any more"):
        running.commit(SECOND)
    _stands_again(running, files, tree)


def test_a_service_that_was_stopped_on_purpose_is_not_probed(running: Bench) -> None:
    running.commands.units["sentry-tls-proxy.service"] = "inactive"
    running.commands.listen(22)
    assert running.commit(SECOND).revision == 2


def test_unit_files_are_made_known_to_systemd(tmp_path: Path) -> None:
    path = "/etc/systemd/system/x.service"
    feature = Feature(
        name="x",
        label="X",
        schema={"type": "dict"},
        default={},
        render=lambda _tree: {path: File("[Unit]\n")},
        units=(Unit("x.service", "restart", (path,)),),
    )
    bench = Bench(tmp_path, (*FEATURES, feature))
    bench.commit(FIRST)
    assert bench.commands.acted() == ["daemon-reload", "reload-or-restart -- web.service", "restart -- x.service"]


# --- kill -9 -----------------------------------------------------------------------------------------------------


def _steps(tmp_path: Path) -> list[str]:
    bench = Bench(tmp_path / "rehearsal")
    bench.commit(FIRST)
    bench.steps.clear()
    bench.commit(SECOND, confirm_minutes=5)
    return bench.steps


def test_a_crash_at_any_step_leaves_the_old_or_the_new_revision_and_nothing_between(tmp_path: Path) -> None:
    steps = _steps(tmp_path)
    assert len(steps) >= 12
    outcomes = {}
    for number, step in enumerate(steps):
        bench = Bench(tmp_path / str(number))
        bench.commit(FIRST)
        old = bench.files()
        bench.crash_at = step
        with pytest.raises(Crash):
            bench.commit(SECOND, confirm_minutes=5)
        bench.crash_at = None
        bench.restart()
        outcomes[step] = bench.running()["name"]
        assert bench.store.journal() is None, step
        assert [one.number for one in bench.store.revisions()] == ([2, 1] if outcomes[step] == "other" else [1]), step
        assert bench.commands.kernel_name == outcomes[step], step
        if outcomes[step] == "box":
            assert bench.files() == old, step
            assert bench.store.pending() is None, step
        else:
            assert bench.text("/etc/name") == "other\n", step
            assert bench.store.pending() is not None, step
        assert list(bench.root.rglob("*.sentry-new")) == [], step
        bench.engine.return_to(1, "tester", "back")  # and it works on
        assert bench.commit(SECOND).changed
    assert outcomes["armed"] == "box"
    assert outcomes["running"] == "other"


def test_a_crash_in_the_first_commit_takes_its_files_away_again(bench: Bench) -> None:
    bench.crash_at = "reconciled"
    with pytest.raises(Crash):
        bench.commit(FIRST)
    bench.crash_at = None
    assert bench.restart() == "an interrupted commit was undone; the old revision stands"
    assert bench.files() == {}
    assert bench.store.running() is None


# --- revisions, rollback, confirmation ---------------------------------------------------------------------------


def test_rollback_commits_an_old_revision_as_a_new_one(running: Bench) -> None:
    files, tree = running.files(), running.running()
    running.commit(SECOND)
    done = running.engine.return_to(1, "tester", "back")
    assert (done.revision, running.files(), running.running()) == (3, files, tree)


def test_the_number_of_kept_revisions_is_bounded(running: Bench) -> None:
    for number in range(MAX_REVISIONS + 3):
        running.commit({"name": "box", "web": {"port": 1000 + number}})
    numbers = [one.number for one in running.store.revisions()]
    assert numbers == list(range(MAX_REVISIONS + 4, 4, -1))


def test_an_unconfirmed_commit_is_overdue_after_its_minutes_also_for_a_new_configd(running: Bench) -> None:
    done = running.commit(SECOND, confirm_minutes=5)
    assert done.confirm_by == "2027-01-15T08:05:00Z"
    running.clock.now += 299
    running.restart()
    assert running.engine.overdue() is None
    running.clock.now += 1
    pending = running.engine.overdue()
    assert pending is not None
    running.engine.return_to(pending.previous, "configd", "not confirmed")
    assert running.running()["name"] == "box"
    assert running.engine.overdue() is None


def test_a_confirmed_commit_stays(running: Bench) -> None:
    running.commit(SECOND, confirm_minutes=5)
    running.engine.confirm("tester")
    running.clock.now += 600
    assert running.engine.overdue() is None
    with pytest.raises(ConflictError, match="no commit waits for confirmation"):
        running.engine.confirm("tester")


def test_while_a_commit_waits_another_is_refused_but_a_way_back_is_not(running: Bench) -> None:
    running.commit(SECOND, confirm_minutes=5)
    with pytest.raises(ConflictError, match="revision 2 by tester waits for confirmation"):
        running.commit(FIRST)
    assert running.engine.return_to(1, "tester", "back").revision == 3
    assert running.store.pending() is None


@pytest.mark.parametrize("minutes", [0, 121])
def test_the_minutes_to_confirm_are_bounded(running: Bench, minutes: int) -> None:
    with pytest.raises(ConflictError, match=f"found {minutes} minutes to confirm; allowed: 1 to 120"):
        running.commit(SECOND, confirm_minutes=minutes)


def test_the_first_commit_has_nothing_to_return_to(bench: Bench) -> None:
    with pytest.raises(ConflictError, match="there is no revision yet to return to"):
        bench.commit(FIRST, confirm_minutes=5)
    assert bench.files() == {}


def test_secrets_of_pruned_revisions_are_collected_and_of_kept_ones_are_not(running: Bench) -> None:
    for number in range(MAX_REVISIONS + 1):
        running.commit({"name": "box", "web": {"token": f"token-{number}"}})
    kept = len(list((running.folder / "secrets").iterdir())) - 1  # the machine's key lies beside them
    assert kept == MAX_REVISIONS
    assert running.vault.reveal(running.running()["web"]["token"]) == f"token-{MAX_REVISIONS}"


# --- before and after the files ----------------------------------------------------------------------------------


def _with(tmp_path: Path, **hooks: Any) -> Bench:
    probed = Feature(name="probed", label="P", schema={"type": "dict"}, default={}, **hooks)
    return Bench(tmp_path, (*FEATURES, probed))


def test_what_the_machine_forbids_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    problem = Problem("users.accounts.zoe", "a stranger", "other names")
    bench = _with(tmp_path, on_machine=lambda _tree, _system: (problem,))
    with pytest.raises(InvalidError, match=r"users\.accounts\.zoe"):
        bench.commit(FIRST)
    assert bench.files() == {}
    assert bench.steps == []


def test_a_look_at_the_machine_that_fails_names_its_feature_and_changes_nothing(tmp_path: Path) -> None:
    def broken(_tree: Any, _system: Any) -> tuple[Problem, ...]:
        raise LookupError("no such group")

    bench = _with(tmp_path, on_machine=broken)
    with pytest.raises(ApplyError, match="probed: no such group; nothing was changed"):
        bench.commit(FIRST)
    assert bench.files() == {}


def test_a_machine_that_does_not_follow_brings_the_old_revision_back(tmp_path: Path) -> None:
    said = [""]
    bench = _with(tmp_path, unsettled=lambda _tree, _system: said[0])
    bench.commit(FIRST)
    files, tree = bench.files(), bench.running()
    said[0] = "the kernel does not have 192.0.2.1/24"
    with pytest.raises(
        ApplyError, match=r"probed: the machine did not follow: the kernel does not have 192\.0\.2\.1/24"
    ):
        bench.commit(SECOND)
    _stands_again(bench, files, tree)


def test_a_machine_that_follows_after_a_moment_is_waited_for(tmp_path: Path) -> None:
    said = ["not yet", "not yet", ""]
    bench = _with(tmp_path, unsettled=lambda _tree, _system: said.pop(0))
    assert bench.commit(FIRST).revision == 1
    assert said == []


def test_what_must_not_follow_is_refused_but_a_return_by_itself_is_not(tmp_path: Path) -> None:
    def never_back(before: Any, after: Any) -> tuple[Problem, ...]:
        back = before["name"] == "other" and after["name"] == "box"
        return (Problem("name", "box", "no way back"),) if back else ()

    bench = _with(tmp_path, verify_change=never_back)
    bench.commit(FIRST)
    bench.commit(SECOND)
    with pytest.raises(InvalidError, match="no way back"):
        bench.commit(FIRST)
    with pytest.raises(InvalidError, match="no way back"):
        bench.engine.return_to(1, "tester", "back")
    assert bench.engine.return_to(1, "configd", "not confirmed", guard=None).revision == 3


DAY = 86_400.0


@pytest.mark.parametrize("jump", [DAY, -DAY, 400.0, -400.0])
def test_a_clock_that_is_set_gives_neither_more_time_to_confirm_nor_less(running: Bench, jump: float) -> None:
    running.commit(SECOND, confirm_minutes=5)
    running.set_clock(jump)
    assert running.engine.overdue() is None
    running.clock.now += 299
    assert running.engine.overdue() is None
    running.clock.now += 1
    assert running.engine.overdue() is not None


def test_a_commit_that_waits_survives_a_power_cut_and_returns_by_the_wall_clock(running: Bench) -> None:
    running.commit(SECOND, confirm_minutes=5)
    running.clock.now += 200
    assert running.power_cut() is None
    assert running.running()["name"] == "other"
    assert running.engine.overdue() is None
    running.clock.now += 100
    assert running.engine.overdue() is not None


def test_after_a_power_cut_a_clock_that_is_years_off_keeps_nothing_from_returning(running: Bench) -> None:
    """The network that would set it may be what the commit has cut."""
    running.commit(SECOND, confirm_minutes=5)
    running.power_cut(clock=-3_000 * DAY)
    running.clock.now += 270  # the machine is up for 20 seconds when configd starts
    assert running.engine.overdue() is None
    running.clock.now += 10
    assert running.engine.overdue() is not None


def test_the_error_of_a_failed_commit_names_the_settings_but_not_without_end(running: Bench) -> None:
    running.commands.dies_after = {"web.service"}
    sites = {name: {"root": "/srv"} for name in "abcdefgh"}
    with pytest.raises(
        ApplyError, match=r"in the commit: web\.port, web\.sites\.a\.level, .* and 9 more; the old revision"
    ):
        running.commit({"name": "box", "web": {"port": 1, "sites": sites}})


# --- between commits -------------------------------------------------------------------------------------------------


def test_what_falls_due_without_a_commit_is_done_with_the_running_tree(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.engine.tend((WEB,), lambda _tree, _machine: "done") is None, "nothing runs yet"
    bench.commit({"name": "box", "web": {"port": 8080}})
    assert bench.engine.tend((WEB,), lambda tree, _machine: tree["web"]["port"]) == 8080


def test_what_fails_between_commits_leaves_the_files_as_they_were(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.commit({"name": "box", "web": {"port": 8080}})
    before = bench.files()

    def spoil(_tree: Tree, machine: Machine) -> None:
        machine.restore(WEB, None)
        machine.restore(KEY, Held(text="new"))
        raise RuntimeError("no luck")

    with pytest.raises(ApplyError, match="no luck; what was there stands as before"):
        bench.engine.tend((WEB, KEY), spoil)
    assert bench.files() == before
    with bench.engine._alone(), pytest.raises(ConflictError):
        bench.engine.tend((WEB,), lambda _tree, _machine: None)


def test_a_commit_waits_for_what_is_done_between_commits(tmp_path: Path) -> None:
    """Nobody has to try again because the clock had something to do."""
    bench = Bench(tmp_path)
    bench.commit({"name": "box"})
    begun, go_on = threading.Event(), threading.Event()

    def work(_tree: Tree, _machine: Machine) -> bool:
        begun.set()
        return go_on.wait(20)

    with ThreadPoolExecutor(2) as threads:
        tending = threads.submit(bench.engine.tend, (), work)
        assert begun.wait(20)
        committing = threads.submit(bench.commit, {"name": "other"})
        assert not committing.done()
        go_on.set()
        assert (tending.result(20), committing.result(20).revision) == (True, 2)


KEYS = "/var/lib/web/key"


def test_files_that_come_with_a_tree_are_in_place_first_are_told_of_and_return_with_what_nobody_confirmed(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    bench.commit(FIRST)
    brings = {KEYS: File("new\n", mode=0o600)}
    bench.commands.log.clear()
    bench.steps.clear()
    done = bench.commit(FIRST, brings=brings, tells=("web.service", "nobody.service"), confirm_minutes=5)
    assert done.changed
    assert (done.revision, done.files, done.units) == (2, (KEYS,), ("web.service",))
    assert bench.commands.acted() == ["reload-or-restart -- web.service"]
    assert bench.text(KEYS) == "new\n"
    assert bench.machine.place(KEYS).stat().st_mode & 0o777 == 0o600
    assert bench.steps.index(f"brought {KEYS}") < bench.steps.index("reconciled")
    bench.engine.return_to(1, "tester", "back")
    assert bench.text(KEYS) is None
    assert bench.store.pending() is None


@pytest.mark.parametrize("step", ["journal", f"brought {KEYS}", "probed", "kept"])
def test_a_commit_that_is_killed_leaves_no_file_that_came_with_it(tmp_path: Path, step: str) -> None:
    bench = Bench(tmp_path)
    bench.commit(FIRST)
    bench.crash_at = step
    with pytest.raises(Crash):
        bench.commit({**FIRST, "name": "other"}, brings={KEYS: File("new\n")}, tells=("web.service",))
    bench.crash_at = None
    assert bench.restart() is not None
    assert bench.text(KEYS) is None
    assert bench.running()["name"] == FIRST["name"]


def test_to_check_keeps_no_secret(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.commit(FIRST)
    kept = set((tmp_path / "secrets").iterdir())
    checked = bench.engine.check(bench.order({**FIRST, "web": {"token": "another-token"}}))
    assert checked.digest == bench.digest()
    assert set((tmp_path / "secrets").iterdir()) == kept
