"""One simulated life: users, service, and the loop every night; what came of each day."""

import shutil
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.loop.events import Events, attack_rows, spoil
from jobs.loop.service import LoopService
from jobs.world.simulator import DAY_S, Settings, Simulation, Turn

if TYPE_CHECKING:
    from jobs.pipeline.steps import Plan

ATTACKERS = 10
VICTIMS = 5
TARGET = "stop"
HOURS = 24
WATCHED_DAYS = 7
"""Whole days whose logs the watch reads besides the hours of today."""


@dataclass(frozen=True)
class LifeConfig:
    """Size of a simulated life; `window_days` of logs go into each night's run."""

    users: int = 200
    days: int = 21
    window_days: int = 14
    holdout_share: float = 0.25
    seed: int = 0
    with_service: bool = True
    events: Events = field(default_factory=Events)


@dataclass
class Told:
    """What happened: a row per turn (day, user, defect, held out, rewritten) and lines of events."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def note(self, day: float, what: str, **more: object) -> None:
        """Add an event."""
        self.events.append({"day": round(day, 3), "what": what, **more})


class Life:
    """Plays the days; `root` holds logs and the registry."""

    def __init__(
        self,
        config: LifeConfig,
        catalogue: Any,
        spoken: Any,
        plan_of: "Callable[[tuple[Path, ...]], Plan]",
        root: Path,
        night: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        from jobs.world.living import LivingWorld
        from rewrite.registry import Registry

        self.config, self.root, self.plan_of, self.night = config, root, plan_of, night
        self.registry: Registry = Registry(root / "registry")
        self.told = Told()
        shift = config.events.shift if config.events.shift is not None else config.days
        settings = Settings(users=config.users, days=config.days, fresh_day=shift)
        self._rng = np.random.default_rng(config.seed + 1)
        self.service = LoopService({}, config.holdout_share, "simulation")
        world = Simulation(
            catalogue,
            spoken,
            settings,
            np.random.default_rng(config.seed),
            self.service if config.with_service else None,
        )
        self.world = LivingWorld(world)
        self.service.people.update(self.world.people)
        self._loaded: str | None = None
        self._popular: dict[str, int] = {}
        self._recent: deque[Any] = deque(maxlen=WATCHED_DAYS)

    def live(self, say: Callable[[str], None] = lambda line: None) -> Told:
        """Play every day; returns what happened."""
        (self.root / "logs").mkdir(parents=True, exist_ok=True)
        for day in range(self.config.days):
            self._day(day)
            if self.config.with_service and day >= self.config.events.loop_from:
                with self.night():
                    self._night(day)
            say(f"day {day}: " + _in_words(self.told.rows, day))
        return self.told

    def _day(self, day: int) -> None:
        import pyarrow as pa

        tables = []
        for hour in range(HOURS):
            at, end = day + hour / HOURS, day + (hour + 1) / HOURS
            pushed = self.config.events.bad_push
            if pushed is not None and at <= pushed < end:
                self._push_badly(at)
            self._load_champion()
            turns = self.world.play(end * DAY_S)
            tables.append(self._log(turns))
            self._tell(day, turns)
            if self.service.bundle is not None:
                self._watch(end, tables)
        self._recent.append(pa.concat_tables(tables))
        self._write(day, tables)

    def _load_champion(self) -> None:
        """What a service does when the alias moves."""
        from rewrite import Rewriter

        champion = self.registry.resolve("champion") if self.config.with_service else None
        if champion != self._loaded and champion is not None:
            self.service.put(Rewriter.load(self.registry.path(champion)), champion)
            self._loaded = champion

    def _log(self, turns: list[Turn]) -> Any:
        """The turns as a log, with what the service did to each."""
        import pyarrow as pa

        from jobs.world.tables import REWRITE, log_table

        table = log_table(turns)
        kept = [self.service.exposures.pop((t.asked.user_id, t.asked.seconds), None) for t in turns]
        return table.set_column(table.column_names.index("rewrite"), "rewrite", pa.array(kept, REWRITE))

    def _tell(self, day: int, turns: list[Turn]) -> None:
        for turn in turns:
            user = turn.asked.user_id
            if not turn.defect:
                self._popular[turn.asked.utterance] = self._popular.get(turn.asked.utterance, 0) + 1
            row = {"day": day, "user": user, "defect": turn.defect, "held": self.service.held_out(user)}
            self.told.rows.append({**row, "rewritten": turn.rewrite is not None, "to_target": turn.rewrite == TARGET})

    def _write(self, day: int, tables: list[Any]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        events = self.config.events
        if events.attack is not None and events.attack <= day < events.attack + events.attack_days:
            if day == events.attack:
                self.told.note(day, "attack begins")
            rows = attack_rows(day, self._victims(), TARGET, ATTACKERS, self._rng)
            schema = tables[0].schema
            tables = [*tables, pa.Table.from_pylist(rows, schema=schema)]
        pq.write_table(pa.concat_tables(tables), self.root / "logs" / f"day-{day:03d}.parquet")

    def _victims(self) -> list[str]:
        """The most popular texts: poisoning them would hurt most."""
        return sorted(self._popular, key=lambda text: (-self._popular[text], text))[:VICTIMS]

    def _night(self, day: int) -> None:
        from jobs.experiment.watch import condemned
        from jobs.pipeline.lock import Lock
        from jobs.run import Keep, run_loop

        first = max(0, day + 1 - self.config.window_days)
        logs = tuple(self.root / "logs" / f"day-{n:03d}.parquet" for n in range(first, day + 1))
        with Lock(self.registry.root / "run.lock").held() as lock:
            plan = replace(self.plan_of(logs), condemned=tuple(sorted(condemned(self.registry))))
            report = run_loop(plan, self.registry.root, keep=Keep(2, 4), lock=lock)
        self.told.note(day + 1, "run", verdict=report["verdict"], bundle=report["bundle"], failing=report["failing"])

    def _push_badly(self, at: float) -> None:
        """Somebody promotes a faulty bundle by hand, past the gates."""
        champion = self.registry.resolve("champion")
        if champion is None:
            return
        out = self.root / "faulty"
        shutil.rmtree(out, ignore_errors=True)
        spoil(self.registry.path(champion), out)
        self.registry.promote(self.registry.publish(out, by="operator"), by="operator", reason="by hand")
        self.told.note(at, "bad push")

    def _watch(self, at: float, tables: list[Any]) -> None:
        """What `reprise experiment watch --act` does, every hour, on the logs of the last days."""
        import pyarrow as pa

        from jobs.ab import report_of
        from jobs.experiment.logs import quickly_judged
        from jobs.experiment.watch import act, urgent

        share = self.config.holdout_share
        expected = {"holdout": share, "champion": 1 - share}
        log = quickly_judged(pa.concat_tables([*self._recent, *tables]))
        for line in act(self.registry, urgent(report_of(log, self.service.bundle, None, expected)), "watch"):
            self.told.note(at, "rollback", why=line)
        self._load_champion()


def _in_words(rows: list[dict[str, Any]], day: int) -> str:
    parts = []
    for held in (False, True):
        found = [row["defect"] for row in rows if row["day"] == day and row["held"] is held]
        parts.append(f"{'holdout' if held else 'treated'} {100 * np.mean(found):.1f} %" if found else "")
    return ", ".join(filter(None, parts))
