"""A service over rules with worker processes, for tests that kill it: settings as JSON, then the port on stdout."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from jobs import logs
from serving.config import ServeConfig
from serving.pool import Pool
from serving.seats import ProcessSeat, WorkerSettings
from serving.server import run


def main() -> None:
    """Serve until SIGTERM."""
    settings = json.loads(sys.argv[1])
    logs.configure("error")
    paths = {key: Path(settings.pop(key)) for key in ("bundle", "registry", "state", "keys") if settings.get(key)}
    config = ServeConfig(
        **{"port": 0, "holdout_share": 0.0, "deadline_ms": 8000.0, "model_wait_ms": 0.0, **settings, **paths}
    )
    worker = WorkerSettings(model_batch=config.model_batch, opener="tests.serving.fakes:open_rules_in_a_process")
    if config.workers:
        run(config, started=_started, pool=Pool(config.workers, partial(ProcessSeat, worker)))
    else:
        run(config, started=_started)


def _started(_: Any, port: int) -> None:
    print(f"port {port}", flush=True)


if __name__ == "__main__":
    main()
