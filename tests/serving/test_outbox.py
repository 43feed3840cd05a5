"""What is written to a worker: at once where the pipe takes it, all of it, in order, and nobody waits."""

import asyncio
import multiprocessing
import os
import time
from multiprocessing.connection import Connection

from serving.outbox import Outbox

PARTS = [bytes([n]) * 50_000 for n in range(20)]
"""Sixteen times what a pipe holds."""


def read_all(connection: Connection) -> bytes:
    found = b""
    while data := os.read(connection.fileno(), 1 << 16):
        found += data
    return found


def test_more_than_the_pipe_holds_arrives_whole_and_in_order() -> None:
    theirs, ours = multiprocessing.Pipe(duplex=False)

    async def run() -> bytes:
        outbox = Outbox(ours)
        began = time.monotonic()
        for part in PARTS[:5]:
            outbox.put(part)
        first = os.read(theirs.fileno(), 60_000)  # there is room again, but the rest of before comes first
        for part in PARTS[5:]:
            outbox.put(part)
        outbox.close()
        outbox.put(b"too late")
        assert time.monotonic() - began < 1
        return first + await asyncio.wait_for(asyncio.to_thread(read_all, theirs), 20)

    assert asyncio.run(run()) == b"".join(PARTS)
    assert ours.closed


def test_what_the_pipe_takes_is_there_before_the_loop_turns() -> None:
    theirs, ours = multiprocessing.Pipe(duplex=False)

    async def run() -> bytes:
        Outbox(ours).put(b"now")
        return os.read(theirs.fileno(), 10)

    assert asyncio.run(run()) == b"now"


def test_a_reader_that_died_is_nobodys_trouble() -> None:
    theirs, ours = multiprocessing.Pipe(duplex=False)

    async def run() -> None:
        outbox = Outbox(ours)
        for part in PARTS:
            outbox.put(part)
        theirs.close()
        outbox.close()
        while not ours.closed:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run(), 20))
