"""Champion against challenger with users: which of the two decides a turn, as the registry's experiment says."""

import json
import time
from pathlib import Path
from typing import Any

import structlog

from rewrite.assignment import FILE, Experiment
from rewrite.turn import Turn
from serving.holder import BadBundle, Holder, InForce, NoSuchBundle
from serving.holdout import unit_of


class Trial:
    """Follows the experiment, and keeps its challenger open beside the champion. Without one nothing changes."""

    def __init__(self, holder: Holder) -> None:
        self.experiment: Experiment | None = None
        self._holder = holder
        self._refused: str | None = None
        self._read_at: tuple[int, int] | None = None

    async def follow(self) -> None:
        """Take up what the registry says now. A challenger that cannot be used is left out, and not tried again."""
        registry = self._holder.registry
        if registry is None:
            return
        self._read(registry.root / FILE)
        wanted = registry.resolve("challenger") if self.experiment is not None else None
        beside = self._holder.challenger
        if wanted is not None and wanted == self._refused:
            wanted = None
        if wanted == (beside.bundle_id if beside is not None else None):
            return
        try:
            await self._holder.accompany(wanted)
        except (NoSuchBundle, BadBundle) as error:
            self._refused = wanted
            structlog.get_logger("serve").error("the challenger is left out", bundle=wanted, cause=str(error))

    def challenger_of(self, turn: Turn) -> InForce | None:
        """The challenger, if it decides this turn; None where the champion does."""
        challenger, experiment = self._holder.challenger, self.experiment
        if challenger is None or experiment is None or not experiment.challenges(unit_of(turn), time.time()):
            return None
        return challenger

    @property
    def shadow(self) -> InForce | None:
        """The challenger, if it decides beside the champion without any effect."""
        return self._holder.challenger if self.experiment is not None and self.experiment.shadow else None

    def as_dict(self) -> dict[str, Any] | None:
        """What is followed, for those who watch the service; None where there is no experiment."""
        if self.experiment is None:
            return None
        challenger = self._holder.challenger
        name = challenger.bundle_id if challenger is not None else None
        return {
            "salt": self.experiment.salt,
            "challenger": name,
            "refused": self._refused,
            "share": self.experiment.share(time.time()) if challenger is not None else 0.0,
            "ramp": [{"since": since, "share": share} for since, share in self.experiment.ramp],
            "shadow": self.experiment.shadow,
        }

    def _read(self, path: Path) -> None:
        """A file that cannot be read, or makes no sense, leaves what was followed before."""
        try:
            found = path.stat()
        except FileNotFoundError:
            self.experiment, self._read_at = None, None
            return
        if self._read_at == (found.st_mtime_ns, found.st_ino):
            return
        try:
            self.experiment = Experiment.of(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, AttributeError) as error:
            structlog.get_logger("serve").error("experiment.json makes no sense and is not followed", cause=str(error))
        self._read_at = (found.st_mtime_ns, found.st_ino)
