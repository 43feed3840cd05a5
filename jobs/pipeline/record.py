"""What is kept of a run: `REG/runs/<id>/` with run.json (fixed when it began), log.jsonl (every attempt, with times)
and, once it ended, report.json and report.html.
"""

import json
import os
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobs.pipeline.step import Done
from rewrite.disk import append_line, fsync, read_lines, replace_text


@dataclass(frozen=True)
class Record:
    """One run's folder."""

    folder: Path

    def begin(self, facts: dict[str, Any], anew: bool = False) -> dict[str, Any]:
        """Fix `facts` at the run's first attempt, or `anew`; later attempts get those back."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "run.json"
        if anew or not path.exists():
            replace_text(path, _text(facts))
        self.note("attempt", host=socket.gethostname(), pid=os.getpid())
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def note(self, event: str, **facts: object) -> None:
        """Add a line to the log."""
        append_line(self.folder / "log.jsonl", {"event": event, "at": datetime.now(UTC).isoformat(), **facts})

    def end(self, report: dict[str, Any], html: str) -> None:
        """Write the reports; the JSON one last, as it marks the run as ended."""
        replace_text(self.folder / "report.html", html)
        replace_text(self.folder / "report.json", _text(report))

    def report(self) -> dict[str, Any] | None:
        """The JSON report, None before the end."""
        path = self.folder / "report.json"
        if not path.is_file():
            return None
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def log(self) -> list[dict[str, Any]]:
        """Every attempt and step, oldest first."""
        return list(read_lines(self.folder / "log.jsonl"))


def _text(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def records(registry: Path) -> list[Record]:
    """All runs, the one that began first before the others."""
    found = [Record(p) for p in (registry / "runs").glob("*") if (p / "run.json").is_file()]
    return sorted(found, key=lambda r: (r.log()[0]["at"] if r.log() else "", r.folder.name))


def retire(registry: Path, keep: int, using: Sequence[Done] = ()) -> list[str]:
    """Remove the oldest runs until `keep` are left, and every step that no run left over refers to.

    Only for the holder of the run lock: a run without a report was killed, and other inputs came since. Those of
    `using`, and a run whose bundle an alias names, stay.

    Returns:
        Names of what was removed.
    """
    in_force = {p.read_text(encoding="utf-8").strip() for p in (registry / "aliases").glob("*") if p.is_file()}
    runs = records(registry)
    spare = [r for r in runs[:-1] if (r.report() or {}).get("bundle") not in in_force]
    gone = spare[: max(0, len(runs) - keep)]
    for record in gone:
        shutil.rmtree(record.folder)
    kept = {d.folder.name for d in using}
    for record in records(registry):
        kept |= {f"{line['step']}-{line['key']}" for line in record.log() if line["event"] == "step"}
    removed = [record.folder.name for record in gone]
    steps = registry / "steps"
    for folder in sorted(steps.glob("*")) if steps.exists() else []:
        if folder.name.removeprefix(".scratch-") not in kept:
            shutil.rmtree(folder)
            removed.append(folder.name)
    if removed:
        fsync(registry)
    return removed
