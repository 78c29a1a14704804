"""Reads mutated files until time is up, and keeps those that a parser cannot cope with.

    .venv/bin/python -m tests.fuzz --minutes 10 [--seed 1] [--keep tests/fuzz/found] [FILE...]

What is kept becomes a case of `tests/contract/test_fuzz_corpus.py`. Further files are used as seeds, and stay where they are.
"""

from __future__ import annotations

import argparse
import hashlib
import signal
import sys
import time
import traceback
from pathlib import Path
from random import Random
from types import FrameType

from ingest.parsers.registry import parse
from rag.errors import DocumentRefused, RefusalReason
from tests.contract.test_formats import SAMPLES as FORMATS
from tests.contract.test_parsers import SAMPLES as OFFICE
from tests.fuzz.mutation import mutated

SLOW_S = 10
"""Of processor time; seeds take less than one."""


class TooSlow(BaseException):
    """Not an Exception, so that no parser takes it for one of its own."""


def fault(data: bytes, name: str) -> str | None:
    """What is wrong with how the file is read; None if it is read or refused in time."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TooSlow("".join(traceback.format_stack(frame)[-3:]))

    signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, SLOW_S)
    try:
        found = parse(data, name)
    except DocumentRefused as refusal:
        failed = refusal.reason is RefusalReason.PARSER_FAILED
        return "".join(traceback.format_exception(refusal.__cause__ or refusal)[-4:]) if failed else None
    except TooSlow as slow:
        return f"more than {SLOW_S} s of processor time: {slow}"
    except MemoryError:
        return None
    except Exception:  # noqa: BLE001  whatever it is, it is what the fuzzer looks for
        return traceback.format_exc()
    else:
        return None if found.elements or found.attachments else "nothing was found, and nothing said"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--seed", type=int, default=time.time_ns())
    options.add_argument("--keep", type=Path, default=Path(__file__).with_name("found"))
    options.add_argument("files", nargs="*", type=Path, metavar="FILE")
    chosen = options.parse_args()
    seeds = {f"a.{kind}": data for kind, data in OFFICE.items()} | FORMATS
    seeds |= {"b.pdf": OFFICE["pdf"], "b.csv": b"a;b\n1;2\n3;4\n", "b.md": b"# A\n\n| b | c |\n|---|---|\n| 1 | 2 |\n"}
    seeds |= {path.name: path.read_bytes() for path in chosen.files}
    print(f"{len(seeds)} seeds, --seed {chosen.seed}", file=sys.stderr)
    broken = [name for name, data in seeds.items() if fault(data, name)]  # and all parsers are loaded now
    if broken:
        raise SystemExit(f"seeds that cannot be read themselves: {broken}")
    random, until, tried = Random(chosen.seed), time.monotonic() + 60 * chosen.minutes, 0
    seen: set[str] = set()
    while time.monotonic() < until:
        name = random.choice(sorted(seeds))
        data = mutated(seeds[name], random)
        tried += 1
        if (wrong := fault(data, name)) and wrong not in seen:
            seen.add(wrong)
            kept = chosen.keep / f"{hashlib.sha256(data).hexdigest()[:12]}-{name}"
            kept.write_bytes(data)
            print(f"{kept.name}\n{wrong}", flush=True)
    print(f"{tried} files read, {len(seen)} faults", file=sys.stderr)


if __name__ == "__main__":
    main()
