"""Whoever has taken over an account: `intruder_program.py SOCKET UID GROUP` sends the lines of its standard input to configd, each
over a connection of its own like the portal's, and prints the answers. With `flood` it takes all connections it gets, prints
how many that were, and holds them until its standard input ends."""

import os
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


def held(peer: socket.socket) -> bool:
    """Whether configd keeps the connection: it answers one that it closes at once with the end."""
    peer.settimeout(0.5)
    try:
        return peer.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


def main(path: str, uid: int, gid: int, *, flood: bool) -> None:
    """Become that account, then talk."""
    os.setgroups([gid])
    os.setgid(uid)
    os.setuid(uid)
    if flood:
        opened = [connected(path) for _ in range(ENOUGH)]
        kept = [peer for peer in opened if held(peer)]
        print(len(kept), flush=True)
        sys.stdin.read()
        return
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(ask(path, line))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), flood=sys.argv[4:] == ["flood"])
