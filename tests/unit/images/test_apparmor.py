"""Which of AppArmor's profiles confine a program of a tree, by the forms in which Debian's profiles name theirs."""

from pathlib import Path

import pytest

from images.seal import apparmor

PROGRAMS = ("usr/sbin/chronyd", "usr/bin/tcpdump", "usr/lib/x86_64-linux-gnu/tool/run", "opt/My Tool/My Tool")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with some programs, what is none, and no profile."""
    for name in PROGRAMS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "usr/bin/notes").write_text("")  # nobody can run it
    (tmp_path / "usr/bin/alias").symlink_to("tcpdump")  # AppArmor sees what it leads to
    (tmp_path / apparmor.PROFILES).mkdir(parents=True)
    return tmp_path


def is_idle(tree: Path, text: str) -> bool:
    """Whether a file with this text would go."""
    (tree / apparmor.PROFILES / "one").write_text(text)
    return apparmor.idle(tree) == ["one"]


@pytest.mark.parametrize(
    "head",
    [
        "/usr/sbin/chronyd flags=(attach_disconnected) {",
        "profile tcpdump /usr/bin/tcpdump {",
        "profile tcpdump /{,usr/}{,s}bin/tcpdump flags=(complain) {",
        "profile any /usr/{bin,sbin}/t?pd[tu]* {",
        "profile deep /usr/**/run {",
        "profile tool /usr/lib/@{multiarch}/tool/run {",
        "@{tool}=nothing tool\nprofile tool /usr/lib/*/@{tool}/run {",
        "@{tool}=nothing\n@{tool} += tool\nprofile tool /usr/lib/*/@{tool}/run {",
        "@{tool} += nothing\nprofile tool /usr/lib/*/@{tool}/run {",
        "profile tool @{exec_path} {",
        'profile "My Tool" "/opt/My Tool/My Tool" flags=(unconfined) {',
        "profile absent /usr/bin/absent {\n}\nprofile present /usr/bin/tcpdump {",
        "/usr/sbin/chronyd { ",
        "profile tcpdump /usr/bin/tcpdump {\t# by {name}",
        "profile tcpdump /{usr/,}bin/tcpdump flags=(complain){# as { says",
        "profile tcpdump /usr/bin/tcpdump { /etc/y r,",
        "profile tcpdump /usr/bin/tcpdump\n{",
        "profile absent /usr/bin/absent {\n}\nprofile present /usr/bin/tcpdump { # there",
    ],
)
def test_a_profile_of_a_program_stays(tree: Path, head: str) -> None:
    assert not is_idle(tree, f"abi <abi/4.0>,\n\n{head}\n  /etc/x r,\n}}\n")


@pytest.mark.parametrize(
    "head",
    [
        "profile firefox /{usr/lib/firefox{,-esr},opt/firefox}/firefox{,-esr,-bin} flags=(unconfined) {",
        "profile shorter /usr/bin/tcp {",
        "profile longer /usr/bin/tcpdump.real {",
        "profile flat /usr/*/run {",
        "@{tool}=chromium chrome\nprofile tool /usr/lib/*/@{tool}/run {",
        "@{tool}=chromium\n@{tool}+=chrome\nprofile tool /usr/lib/*/@{tool}/run {",
        "profile lsb_release {",  # for whoever asks for it by name
        "profile steam /usr/games/steam { # of /usr/bin/tcpdump {",
        "profile steam /usr/games/steam\n{",
        "profile outer /usr/bin/absent {\n  profile inner /usr/bin/tcpdump {\n  }",
        "profile notes /usr/bin/notes {",
        "profile alias /usr/bin/alias {",
    ],
)
def test_a_profile_of_no_program_goes(tree: Path, head: str) -> None:
    assert is_idle(tree, f"abi <abi/4.0>,\n\n{head}\n  /etc/x r,\n}}\n")


@pytest.mark.parametrize("text", ["# profile steam /usr/games/steam {", "  /usr/games/steam {\n  }", "", "\\\n{"])
def test_where_no_profile_is_found_nothing_is_known_and_it_stays(tree: Path, text: str) -> None:
    assert not is_idle(tree, f"{text}\n")


def test_what_stays_is_of_programs_and_what_profiles_include(tree: Path) -> None:
    for name, text in {
        "usr.sbin.chronyd": "/usr/sbin/chronyd {\n}\n",
        "steam": "profile steam /usr/games/steam {\n}\n",
        "abstractions/base": "/etc/ld.so.cache r,\n",
    }.items():
        (tree / apparmor.PROFILES / name).parent.mkdir(exist_ok=True)
        (tree / apparmor.PROFILES / name).write_text(text)
    apparmor.remove(tree)
    left = (tree / apparmor.PROFILES).rglob("*")
    assert {path.name for path in left if path.is_file()} == {"usr.sbin.chronyd", "base"}
    assert apparmor.idle(tree) == []
