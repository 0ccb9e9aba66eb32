"""A process that writes generation after generation and says so, until it is killed: `writing_child.py FOLDER FIRST [LAST]`."""

import sys

from sentry_runtime.devices.record import DeviceKey, Record, State
from sentry_runtime.devices.store import Writer

KEYS = [DeviceKey(f"DEVICE{number}", "anna@lab.test") for number in range(10)]


def main() -> None:
    """Each generation is one transaction: ten records and the cursor carry its number."""
    store = Writer(sys.argv[1])
    generation = int(sys.argv[2])
    last = int(sys.argv[3]) if len(sys.argv) > 3 else None
    while last is None or generation <= last:
        records = [
            Record(key=key, state=State.ALLOWED, version=generation, note="x" * (generation % 4_000)) for key in KEYS
        ]
        store.write(put=records, cursor=generation)
        sys.stdout.write(f"{generation}\n")
        sys.stdout.flush()
        generation += 1


if __name__ == "__main__":
    main()
