"""Garbage collection that stops nobody: what is there to stay is put out of its sight.

A full collection looks at every object there is, half a million in a worker, and stops it for a quarter of a second: as
long as a deadline. Bundles and what is kept of turns hold no cycles, so nothing is lost by never looking there.
"""

import gc

EVERY = 200
"""Turns after which what is kept of them is put out of sight."""

NEVER = 2**31 - 1


def settle() -> None:
    """Collect once, and look at what is left no more."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


class Sweeper:
    """Looks after the collector of a process that decides turns: it is asked after each."""

    def __init__(self) -> None:
        """From now on this process makes no full collection of its own accord."""
        young, middle, _ = gc.get_threshold()
        gc.set_threshold(young, middle, NEVER)
        self._turns = 0

    def turn_done(self) -> None:
        """Every so often, collect the young, and take those that outlive it for what is kept."""
        self._turns += 1
        if self._turns % EVERY == 0:
            gc.collect(1)
            gc.freeze()
