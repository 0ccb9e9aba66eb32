"""A capture: what may be asked for, what tcpdump is told, and that headers are all that is kept of a packet."""

import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.capture import request as asked
from appliance.capture.headers import ETHERNET, Cutter, NoCaptureError, header_bytes
from appliance.capture.recording import record
from appliance.capture.request import Request, argv, flaw, told, words
from tests.unit.appliance.workbench import Clock

SECRET = b"Authorization: Basic c2VjcmV0OnNlY3JldA=="
MAC = bytes(12)


def ipv4(protocol: int, transport: bytes, *, options: bytes = b"", fragment: int = 0) -> bytes:
    length = 5 + len(options) // 4
    head = struct.pack(">BBHHHBBH4s4s", 0x40 | length, 0, 0, 0, fragment, 64, protocol, 0, bytes(4), bytes(4))
    return MAC + b"\x08\x00" + head + options + transport


def ipv6(protocol: int, transport: bytes) -> bytes:
    return MAC + b"\x86\xdd" + struct.pack(">IHBB16s16s", 0x60000000, 0, protocol, 64, bytes(16), bytes(16)) + transport


def tcp(words_: int = 5) -> bytes:
    return struct.pack(">HHIIBBHHH", 443, 50_000, 0, 0, words_ << 4, 0, 0, 0, 0) + bytes(4 * (words_ - 5))


UDP = struct.pack(">HHHH", 53, 50_000, 0, 0)
FRAMES = {
    "TCP": (ipv4(6, tcp()), 54),
    "TCP with options": (ipv4(6, tcp(8)), 66),
    "IPv4 with options": (ipv4(6, tcp(), options=bytes(8)), 62),
    "UDP": (ipv4(17, UDP), 42),
    "ICMP": (ipv4(1, bytes(8)), 42),
    "a later fragment": (ipv4(6, b"", fragment=0x0010), 34),
    "IPv6": (ipv6(6, tcp()), 74),
    "IPv6 with a hop-by-hop option": (ipv6(0, bytes([6, 0]) + bytes(6) + tcp()), 82),
    "IPv6 ICMP": (ipv6(58, bytes(8)), 62),
    "a VLAN": (MAC + b"\x81\x00\x00\x05" + ipv4(6, tcp())[12:], 58),
    "ARP": (MAC + b"\x08\x06" + bytes(28), 42),
    "what nobody knows": (MAC + b"\x88\xcc", 14),
    "another transport": (ipv4(47, b""), 34),
}


@pytest.mark.parametrize("name", FRAMES)
def test_of_a_packet_its_headers_are_kept_and_nothing_that_was_said(name: str) -> None:
    head, length = FRAMES[name]
    assert len(head) == length
    assert header_bytes(head + SECRET) == length


@given(st.binary(max_size=200))
def test_whatever_comes_is_cut_within_itself(packet: bytes) -> None:
    assert 0 <= header_bytes(packet) <= len(packet)


def stream(*packets: bytes, order: str = "<", link: int = ETHERNET) -> bytes:
    magic = b"\xd4\xc3\xb2\xa1" if order == "<" else b"\xa1\xb2\xc3\xd4"
    made = magic + struct.pack(f"{order}HHiIII", 2, 4, 0, 0, 262_144, link)
    for place, packet in enumerate(packets):
        made += struct.pack(f"{order}IIII", place, 0, len(packet), len(packet)) + packet
    return made


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_the_stream_may_come_in_any_pieces(order: str, size: int) -> None:
    sent = stream(*(head + SECRET for head, _length in FRAMES.values()), order=order)
    cutter = Cutter(whole=False)
    kept = b"".join(b"".join(cutter.feed(sent[at : at + size])) for at in range(0, len(sent), size))
    assert SECRET not in kept
    assert kept.startswith(sent[:24])
    assert len(kept) == 24 + sum(16 + length for _head, length in FRAMES.values())


def test_whole_packets_are_kept_as_they_are() -> None:
    sent = stream(FRAMES["TCP"][0] + SECRET, link=113)
    assert b"".join(Cutter(whole=True).feed(sent)) == sent


@pytest.mark.parametrize("sent", [b"tcpdump: no such device exists" * 2, stream(link=113)])
def test_what_is_no_stream_of_frames_is_refused(sent: bytes) -> None:
    with pytest.raises(NoCaptureError, match="allowed"):
        list(Cutter(whole=False).feed(sent))


# --- how long, how much ------------------------------------------------------------------------------------------


def recorded(sent: bytes, *, most: int = 10_000, stopped: bool = False) -> tuple[str, bytes]:
    source, sink = os.pipe()
    os.write(sink, sent)
    os.close(sink)
    target = io.BytesIO()
    clock = Clock(0.0)
    how = record(source, target, Cutter(whole=False), seconds=5.0, most=most, clock=clock, stopped=lambda: stopped)
    os.close(source)
    return how, target.getvalue()


def test_it_ends_when_tcpdump_does() -> None:
    how, kept = recorded(stream(FRAMES["TCP"][0]))
    assert (how, len(kept)) == ("over", 24 + 16 + 54)


def test_it_ends_at_the_last_packet_that_fits() -> None:
    how, kept = recorded(stream(*[FRAMES["TCP"][0]] * 5), most=200)
    assert (how, len(kept)) == ("size", 24 + 2 * 70)


def test_it_ends_when_somebody_asks() -> None:
    assert recorded(stream(FRAMES["TCP"][0]), stopped=True) == ("stopped", b"")


def test_it_ends_when_the_time_is_up_though_nothing_comes() -> None:
    source, sink = os.pipe()
    now = iter([0.0, 4.9, 5.0])
    cutter = Cutter(whole=False)
    how = record(source, io.BytesIO(), cutter, seconds=5.0, most=9, clock=lambda: next(now), stopped=lambda: False)
    assert how == "time"
    os.close(source)
    os.close(sink)


# --- what may be asked for ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "made"),
    [
        (Request(interface="mgmt0"), ()),
        (Request(interface="mgmt0", protocol="tcp", port=443), ("tcp", "and", "port", "443")),
        (Request(interface="a.5", host="2001:DB8::1"), ("host", "2001:db8::1")),
        (
            Request(interface="eth0", protocol="icmp", host="192.0.2.1"),
            ("(", "icmp", "or", "icmp6", ")", "and", "host", "192.0.2.1"),
        ),
    ],
)
def test_the_filter_is_made_of_typed_fields(request_: Request, made: tuple[str, ...]) -> None:
    assert flaw(request_) == ""
    assert words(request_) == made
    command = argv(request_)
    assert command[command.index("--") + 1 :] == list(made)
    assert command[command.index("-i") + 1] == request_.interface


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"interface": "-w/etc/passwd"}, "interface"),
        ({"interface": "eth0; id"}, "interface"),
        ({"interface": ""}, "interface"),
        ({"host": "mail.example.test"}, "IPv4 or IPv6"),
        ({"host": "192.0.2.1 or port 22"}, "IPv4 or IPv6"),
        ({"host": "fe80::1%eth0"}, "without a zone"),
        ({"host": "2001:db8::1", "protocol": "arp"}, "for ARP"),
        ({"port": 0}, "1 to 65535"),
        ({"port": 65_536}, "1 to 65535"),
        ({"port": 53, "protocol": "icmp"}, "which has none"),
        ({"seconds": 0}, "1 to 300"),
        ({"seconds": 301}, "1 to 300"),
    ],
)
def test_what_else_is_sent_is_refused_before_any_command_is_made(fields: dict[str, object], said: str) -> None:
    request_ = msgspec.convert({"interface": "mgmt0", **fields}, Request)
    assert said in flaw(request_)
    with pytest.raises(ValueError, match="allowed"):
        argv(request_)


def test_headers_ask_the_kernel_for_no_more_than_headers_need() -> None:
    some, whole = argv(Request(interface="a")), argv(Request(interface="a", whole=True))
    assert some[some.index("-s") + 1] == str(asked.HEADER_BYTES)
    assert whole[whole.index("-s") + 1] == str(asked.WHOLE_BYTES)
    assert told(Request(interface="a", port=25, protocol="tcp")) == "a tcp port 25 60 s headers"


# --- the program -------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
from pathlib import Path
from appliance.capture.__main__ import main
import appliance.capture.__main__ as own
own.ENVIRONMENT = {"PATH": sys.argv[3]}
sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
"""


@pytest.mark.parametrize(("packets", "status"), [(stream(FRAMES["TCP"][0] + SECRET), 0), (b"", 1)])
def test_the_program_writes_what_it_was_asked_for(tmp_path: Path, packets: bytes, status: int) -> None:
    """A program of the name `tcpdump` stands for it: it prints a stream, or fails as for an interface that is gone."""
    (tmp_path / "sent").write_bytes(packets)
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "tcpdump").write_text(f"#!/bin/sh\n/bin/cat {tmp_path}/sent\nexit {status}\n")
    (bin_ / "tcpdump").chmod(0o755)
    place, result = tmp_path / "request.json", tmp_path / "capture.pcap"
    place.write_bytes(msgspec.json.encode(Request(interface="mgmt0", seconds=5)))
    argv_ = [sys.executable, "-c", PROGRAM, str(place), str(result), str(bin_)]
    done = subprocess.run(argv_, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert SECRET not in result.read_bytes()
    assert len(result.read_bytes()) == (24 + 16 + 54 if packets else 0)
    assert result.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "{}", '{"interface":"-i"}', '{"interface":"a","filter":"port 22"}'])
def test_the_program_starts_nothing_for_what_it_does_not_understand(tmp_path: Path, text: str) -> None:
    (tmp_path / "request.json").write_text(text)
    argv_ = [sys.executable, "-c", PROGRAM, str(tmp_path / "request.json"), str(tmp_path / "c.pcap"), str(tmp_path)]
    done = subprocess.run(argv_, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "nothing was captured" in done.stderr
    assert not (tmp_path / "c.pcap").exists()
