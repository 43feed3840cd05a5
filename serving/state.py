"""The state folder: one process at a time keeps its records there."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StateInUse(ValueError):
    """Another process keeps its records in that folder."""


@contextmanager
def state_folder(folder: Path) -> Iterator[None]:
    """Hold the folder, which is made if it is not there; the hold falls with the process.

    Raises:
        StateInUse: another process holds it. ValueError: it is a file.
    """
    if folder.is_file():
        raise ValueError(
            f"--state is a file; got {folder}; expected a folder for the service's records; a typing slip?"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateInUse(
                f"another service keeps its records in {folder}; give each one its own --state folder"
            ) from error
        yield
