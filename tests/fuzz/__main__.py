"""`python -m tests.fuzz TARGET [--seconds N]`: coverage-guided fuzzing of one target (atheris, libFuzzer's engine).

Finds are written as files below `build/fuzz/TARGET/`, with what it has learnt; give one as an argument to run it again.
"""

import argparse
import logging
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["sentry_runtime", "appliance.first_boot"]):
    from tests.fuzz.targets import TARGETS

FOLDER = Path("build/fuzz")


def main() -> None:
    """Fuzz until the time is over, or until something is found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS), nargs="?")
    parser.add_argument("--list", action="store_true", help="name the targets")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("again", nargs="*", help="files to run once")
    given = parser.parse_args()
    if given.list or given.target is None:
        print(*TARGETS)
        return
    folder = FOLDER / given.target
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    target = TARGETS[given.target]
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    logging.disable()  # a line for each refusal would be most of the work
    if given.again:
        for name in given.again:
            target.run(Path(name).read_bytes())
        return
    options = [
        f"-max_total_time={given.seconds}",
        f"-artifact_prefix={folder}/",
        f"-max_len={target.longest}",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
