"""Whoever has taken over an account: `intruder_program.py SOCKET UID GROUP` sends the lines of its standard input to configd,
each over a connection of its own like the portal's, and prints the answers. With `flood` it takes all connections it gets, prints
how many that were, and holds them until its standard input ends."""

import os
import select
import socket
import sys

ENOUGH = 80


def connected(path: str) -> socket.socket:
    """A connection to configd."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(30)
    made.connect(path)
    return made


def ask(path: str, line: bytes) -> bytes:
    """One line, and the line that answers it."""
    with connected(path) as peer:
        peer.sendall(line)
        with peer.makefile("rb") as answers:
            return answers.readline()


def kept(opened: list[socket.socket]) -> list[socket.socket]:
    """Those that configd keeps: what it does not, it closes at once, which makes them readable."""
    open_still = list(opened)
    while closed := select.select(open_still, [], [], 1.0)[0]:
        open_still = [peer for peer in open_still if peer not in closed]
    return open_still


def main(path: str, uid: int, gid: int, *, flood: bool) -> None:
    """Become that account, then talk."""
    os.setgroups([gid])
    os.setgid(uid)
    os.setuid(uid)
    if flood:
        opened = [connected(path) for _ in range(ENOUGH)]
        sys.stdout.write(f"{len(kept(opened))}\n")
        sys.stdout.flush()
        sys.stdin.read()
        return
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(ask(path, line))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), flood=sys.argv[4:] == ["flood"])
