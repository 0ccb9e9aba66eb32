"""Whoever has taken over an account: `intruder_program.py SOCKET UID GROUP` sends the lines of its standard input to configd,
each over a connection of its own like the portal's, and prints the answers. With `one` they go over one connection, and the
handle that the first answer has takes the place of HANDLE in the others. With `flood` it takes all connections it gets, prints
how many that were, and holds them until its standard input ends."""

import json
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


def ask_all(path: str, lines: list[bytes]) -> list[bytes]:
    """All lines over one connection, and their answers."""
    said: list[bytes] = []
    handle = b""
    with connected(path) as peer, peer.makefile("rb") as answers:
        for line in lines:
            peer.sendall(line.replace(b"HANDLE", handle))
            said.append(answers.readline())
            handle = handle or str((json.loads(said[0]).get("result") or {}).get("handle", "")).encode()
    return said


def kept(opened: list[socket.socket]) -> list[socket.socket]:
    """Those that configd keeps: what it does not, it closes at once, which makes them readable."""
    open_still = list(opened)
    while closed := select.select(open_still, [], [], 1.0)[0]:
        open_still = [peer for peer in open_still if peer not in closed]
    return open_still


def main(path: str, uid: int, gid: int, *, mode: str) -> None:
    """Become that account, then talk."""
    os.setgroups([gid])
    os.setgid(uid)
    os.setuid(uid)
    if mode == "flood":
        opened = [connected(path) for _ in range(ENOUGH)]
        sys.stdout.write(f"{len(kept(opened))}\n")
        sys.stdout.flush()
        sys.stdin.read()
        return
    if mode == "one":
        sys.stdout.buffer.writelines(ask_all(path, sys.stdin.buffer.readlines()))
        return
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(ask(path, line))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), mode="".join(sys.argv[4:]))
