"""What waits to be written to a pipe: the event loop writes it, so that no thread has to be woken for every item."""

import asyncio
import os
from multiprocessing.connection import Connection


class Outbox:
    """Writes at once what the pipe takes, and the rest as the pipe empties; all calls come from the event loop.

    What cannot be written, as nobody reads it any more, is dropped: whoever reads the answers learns of that.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._left = bytearray()
        self._ends = False
        os.set_blocking(connection.fileno(), False)

    def put(self, data: bytes) -> None:
        """Write `data` after all that was put before it."""
        if self._ends:
            return
        if self._left:
            self._left += data
            return
        rest = data[self._written(data) :]
        if rest:
            self._left += rest
            self._loop.add_writer(self._connection.fileno(), self._flush)

    def close(self) -> None:
        """Close the pipe once all is written; what is put from now on is dropped."""
        if not self._ends:
            self._ends = True
            self._close_if_done()

    def _flush(self) -> None:
        del self._left[: self._written(bytes(self._left))]
        if not self._left:
            self._loop.remove_writer(self._connection.fileno())
            self._close_if_done()

    def _written(self, data: bytes) -> int:
        """How many bytes the pipe took."""
        try:
            return os.write(self._connection.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

    def _close_if_done(self) -> None:
        if self._ends and not self._left:
            self._connection.close()
