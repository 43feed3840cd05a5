"""The collector of a worker: what is kept is out of its sight, what is young is not, and no full pass is made."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

SCRIPT = """
import gc
from serving.sweeping import EVERY, Sweeper, settle

full = []
gc.callbacks.append(lambda phase, info: full.append(phase) if info["generation"] == 2 else None)
settle()
full.clear()
sweeper, kept = Sweeper(), []
for turn in range(4 * EVERY):
    kept.append([[n] for n in range(500)])  # what lasts: 400,000 lists
    sweeper.turn_done()
print(len(full), len(gc.get_objects()) < 200_000)
for turn in range(10 * EVERY):
    cycle = []
    cycle.append(cycle)
    sweeper.turn_done()
gc.unfreeze()
print(gc.collect() < EVERY)
gc.unfreeze()
del kept
settle()
print(gc.get_freeze_count() < 100_000)
"""


def test_turns_make_no_full_collection_and_cycles_of_theirs_do_not_pile_up() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "True", "True", "True"]
