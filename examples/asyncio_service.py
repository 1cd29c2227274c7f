"""An asyncio service that computes: requests are served at the same time, each under settings of its own.

    python examples/asyncio_service.py

A parallel call blocks its thread, so a coroutine hands it to `asyncio.to_thread`. Settings made with
`parallel_config` belong to the asyncio task that made them, and follow it into that thread: two requests
never see each other's. Workers stay warm between requests.
"""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from math import isqrt

from parallelcfg import Parallel, delayed, parallel_config

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


def primes_between(start: int, stop: int) -> int:
    """How many primes there are; the work of a task."""
    return sum(all(n % d for d in range(2, isqrt(n) + 1)) for n in range(max(2, start), stop))


def count_primes(limit: int, parts: int = 8) -> dict[str, object]:
    """The work of a request: a parallel loop that says nothing of its settings, as in a library."""
    edges = [limit * part // parts for part in range(parts + 1)]
    loop = Parallel()
    counts = loop(delayed(primes_between)(start, stop) for start, stop in pairwise(edges))
    return {"primes": sum(counts), "backend": loop.backend_name, "workers": loop.effective_n_jobs}


async def serve(reader: Reader, writer: Writer) -> None:
    """Answer one request: a line of JSON in, a line of JSON out."""
    request = json.loads(await reader.readline())
    with parallel_config(request["backend"], n_jobs=request["n_jobs"], deadline=30):
        answer = await asyncio.to_thread(count_primes, request["limit"])
    writer.write(json.dumps(answer).encode() + b"\n")
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def ask(port: int, **request: object) -> str:
    """A client."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(json.dumps(request).encode() + b"\n")
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return answer.decode().strip()


async def main() -> None:
    """Serve three clients at once."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        answers = await asyncio.gather(
            ask(port, limit=20_000, backend="loky", n_jobs=2),
            ask(port, limit=10_000, backend="threading", n_jobs=3),
            ask(port, limit=1_000, backend="sequential", n_jobs=1),
        )
    print("\n".join(answers))


if __name__ == "__main__":
    asyncio.run(main())
