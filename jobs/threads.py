"""How many threads the model may use, and how many processes."""

import os


def default_workers() -> int:
    """The cores this process may run on: for work split among processes of one thread each."""
    return len(os.sched_getaffinity(0))


def default_threads() -> int:
    """One fewer than the cores this process may run on, at least one.

    A thread that waits for a core taken by others holds all its fellows up: on busy cores, more threads are slower.
    """
    return max(1, len(os.sched_getaffinity(0)) - 1)
