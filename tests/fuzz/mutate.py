"""Frames made from valid ones: flipped, cut, doubled, mixed, and with excessive values."""

import os
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

FRAMES = int(os.environ.get("AGENT_TUI_FUZZ_FRAMES", "2000"))
SEED = int(os.environ.get("AGENT_TUI_FUZZ_SEED", "20261124"))


def mutated(valid: Sequence[bytes], count: int = FRAMES, seed: int = SEED) -> Iterator[bytes]:
    """Yield that many frames, the same ones for the same seed; a third of them unchanged."""
    rng = random.Random(seed)
    for _ in range(count):
        frame = bytearray(rng.choice(valid))
        if rng.random() >= 0.33:
            for _ in range(rng.choice((1, 1, 1, 1, 2, 3))):
                _mutate(frame, valid, rng)
        yield bytes(frame)


def _mutate(frame: bytearray, valid: Sequence[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(frame) + 1)
    end = min(at + rng.randrange(1, 9), len(frame))
    match rng.randrange(8):
        case 0 if frame:
            frame[min(at, len(frame) - 1)] ^= 1 << rng.randrange(8)
        case 1:
            del frame[at:]
        case 2:
            del frame[at:end]
        case 3:
            frame[at:at] = frame[at:end] * rng.randrange(1, 50)
        case 4:
            other = rng.choice(valid)
            frame[at:] = other[rng.randrange(len(other) + 1) :]
        case 5:
            frame[at:at] = rng.randbytes(rng.randrange(1, 20))
        case 6:
            frame[at:end] = b"\xff" * (end - at)
        case _:
            frame[at:at] = rng.choice((b"\x00", b"\xed\xa0\x80", b"\xe2\x80\xae", b"\n", b"1e999", b'"'))


def tell(name: str, seen: Counter[str]) -> None:
    """Print what was reached."""
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(seen.items()))
    sys.stdout.write(f"\n{name}, seed {SEED}: {counts}\n")
