"""How long does one write take with each setting of `synchronous`?  Run by hand.

python tests/contract/store/measure_durability.py [directory]
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from mutua.api.object import CONFIG_MAPS
from mutua.foundation.clock import SystemClock
from mutua.store.sqlite import SqliteStore, Synchronous

WRITES = 1000


async def measure(directory: Path, synchronous: Synchronous) -> None:
    store = SqliteStore(directory / f"{synchronous}.db", SystemClock(), synchronous=synchronous)
    durations: dict[str, list[float]] = {"create": [], "update": []}
    for number in range(WRITES):
        obj = {"metadata": {"name": f"c{number}", "namespace": "x"}, "data": {"blob": "x" * 2000}}
        start = time.perf_counter()
        made = await store.create(CONFIG_MAPS, obj)
        created = time.perf_counter()
        await store.update(CONFIG_MAPS, made | {"data": {"blob": "y" * 2000}})
        durations["create"].append(created - start)
        durations["update"].append(time.perf_counter() - created)
    store.close()
    for verb, seconds in durations.items():
        seconds.sort()
        p50, p99 = seconds[WRITES // 2] * 1e3, seconds[WRITES * 99 // 100] * 1e3
        print(f"synchronous={synchronous:7} {verb}: p50 {p50:.2f} ms, p99 {p99:.2f} ms")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as directory:
        for synchronous in ("FULL", "NORMAL"):
            asyncio.run(measure(Path(directory), synchronous))
