"""Items over a pipe between the service and its own children: a length, then a pickle."""

import os
import pickle
import struct
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any


class Unpacker:
    """Takes bytes as they come and gives whole items."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """The items that `data` completes."""
        self._buffer += data
        while len(self._buffer) >= 4:
            (size,) = struct.unpack_from("!I", self._buffer)
            if len(self._buffer) < 4 + size:
                break
            item = bytes(self._buffer[4 : 4 + size])
            del self._buffer[: 4 + size]
            yield pickle.loads(item)


def packed(item: Any) -> bytes:
    """An item as it travels between the service and its own children: its length, then its pickle."""
    data = pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)
    return struct.pack("!I", len(data)) + data


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data` to a blocking descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_items(connection: Connection) -> Iterator[Any]:
    """Items from a blocking pipe until it closes."""
    unpacker = Unpacker()
    while data := os.read(connection.fileno(), 1 << 16):
        yield from unpacker.feed(data)
