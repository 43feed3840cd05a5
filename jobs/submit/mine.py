"""`spark-submit jobs/submit/mine.py LOGS… --out MINED`: `reprise mine` on the session that spark-submit makes.

It lies in a folder of its own because Python puts a script's folder first among those that it imports from, and some
of our jobs have names that other modules have too.
"""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[2]))

from jobs.faults import run_alone
from jobs.mine import mine

if __name__ == "__main__":
    run_alone(mine)
