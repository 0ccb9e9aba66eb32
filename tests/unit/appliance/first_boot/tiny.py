"""The smallest disks that have everything, written byte by byte: what hostile ones are made from."""

import struct

TEXT = b"hostname: gw1.example.test\n"
SECTOR, CD_SECTOR = 512, 2_048
CD_BEFORE = 16 * CD_SECTOR  # the system area, which says nothing
ENTRIES = 64  # of the root folder of a FAT12 or FAT16


CLUSTERS = {12: 24, 16: 4_100, 32: 65_600}


def fat(bits: int = 12, cluster_sectors: int = 1, text: bytes = TEXT, clusters: int = 0) -> bytes:
    """A FAT file system labelled CIDATA with the one file `user-data`, which has a long name. It says that it is as large as one
    of its kind must be, has a table no longer than it needs, and ends where nothing comes any more."""
    clusters = clusters or CLUSTERS[bits]
    table_sectors = 8
    root_sectors = 0 if bits == 32 else ENTRIES * 32 // SECTOR
    sectors = 1 + table_sectors + root_sectors + clusters * cluster_sectors
    boot = bytearray(SECTOR)
    boot[11:21] = struct.pack("<HBHBHH", SECTOR, cluster_sectors, 1, 1, 0 if bits == 32 else ENTRIES, 0)
    boot[22:24] = struct.pack("<H", 0 if bits == 32 else table_sectors)
    boot[32:36] = struct.pack("<I", sectors)
    boot[510:512] = b"\x55\xaa"
    if bits == 32:
        boot[36:40], boot[44:48] = struct.pack("<I", table_sectors), struct.pack("<I", 2)
    cluster = cluster_sectors * SECTOR
    first = 3 if bits == 32 else 2
    used = [*range(first, first + -(-len(text) // cluster))]
    links = {here: here + 1 for here in used[:-1]} | {used[-1]: (1 << min(bits, 28)) - 1}
    if bits == 32:
        links[2] = (1 << 28) - 1
    folder = folder_of(first, len(text))
    data = text.ljust(len(used) * cluster, b"\0")
    if bits == 32:
        data = folder.ljust(cluster, b"\0") + data
        folder = b""
    whole = bytes(boot) + table(bits, links).ljust(table_sectors * SECTOR, b"\0")
    return whole + folder.ljust(root_sectors * SECTOR, b"\0") + data


def table(bits: int, links: dict[int, int]) -> bytes:
    """A file allocation table with these entries."""
    whole = sum(value << number * bits for number, value in links.items())
    return whole.to_bytes((max(links) + 1) * bits // 8 + 1, "little")


def folder_of(cluster: int, size: int, short: bytes = b"USER-D~1   ") -> bytes:
    """The root folder: its label, and `user-data`."""
    label = b"CIDATA     " + bytes([8]) + bytes(20)
    file = short + bytes([0x20]) + bytes(8) + struct.pack("<HIHI", cluster >> 16, 0, cluster & 0xFFFF, size)
    return label + long_entry("user-data", short) + file


def long_entry(name: str, short: bytes, number: int = 0x41) -> bytes:
    """The entry that gives a file a name of up to 13 characters."""
    checksum = 0
    for byte in short:
        checksum = ((checksum & 1) << 7) + (checksum >> 1) + byte & 0xFF
    letters = (name + "\0").encode("utf-16-le").ljust(26, b"\xff")[:26]
    return bytes([number]) + letters[:10] + b"\x0f\0" + bytes([checksum]) + letters[10:22] + b"\0\0" + letters[22:]


def iso(*, joliet: bool = False, text: bytes = TEXT) -> bytes:
    """A CD labelled cidata with the one file `user-data`, by its Rock Ridge or its Joliet name; without the system area."""
    name = "user-data".encode("utf-16-be") if joliet else b"USER_DAT.;1"
    rock_ridge = b"" if joliet else b"NM" + bytes([14, 1, 0]) + b"user-data"
    records = record(b"\0", 20, CD_SECTOR, folder=True) + record(b"\1", 20, CD_SECTOR, folder=True)
    folder = records + record(name, 21, len(text), more=rock_ridge)
    descriptors = (
        [descriptor(1)] + ([descriptor(2, b"%/E")] if joliet else []) + [b"\xffCD001\1".ljust(CD_SECTOR, b"\0")]
    )
    before = b"".join(descriptors).ljust(4 * CD_SECTOR, b"\0")
    return before + folder.ljust(CD_SECTOR, b"\0") + text.ljust(CD_SECTOR, b"\0")


def descriptor(kind: int, escape: bytes = b"") -> bytes:
    """A volume descriptor whose root folder lies in sector 20."""
    made = bytearray(CD_SECTOR)
    made[:7] = bytes([kind]) + b"CD001\1"
    made[40:72] = b"cidata".ljust(32)
    made[88 : 88 + len(escape)] = escape
    made[128:132] = struct.pack("<HH", CD_SECTOR, 0)
    made[156:190] = record(b"\0", 20, CD_SECTOR, folder=True)
    return bytes(made)


def record(name: bytes, sector: int, size: int, *, folder: bool = False, more: bytes = b"") -> bytes:
    """A directory record."""
    padded = name + (b"" if len(name) % 2 else b"\0")
    length = 33 + len(padded) + len(more)
    length += length % 2
    both = struct.pack("<I", sector) + struct.pack(">I", sector) + struct.pack("<I", size) + struct.pack(">I", size)
    head = bytes([length, 0]) + both + bytes(7) + bytes([2 if folder else 0, 0, 0, 1, 0, 0, 1, len(name)])
    return (head + padded + more).ljust(length, b"\0")
