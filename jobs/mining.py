"""One mining run on Spark: gather, judge and count by parts, sum over parts, for all days and for the past at once."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from jobs.spark_tables import Stage, write_sides, write_table
from mining import (
    arrow_log,
    chain,
    gathered,
    gathering,
    outcomes,
    parts,
    privacy,
    quarantine,
    shards,
    signals,
    spaces,
    suspects,
)
from mining.config import MineConfig
from mining.defects import DefectModel, fit
from mining.judgement import Yardstick
from mining.models import Model
from mining.sessions import sessions
from mining.store import write_global, write_personal
from mining.turns import US_PER_DAY, Turns

Say = Callable[[str], None]


@dataclass
class Counts:
    """What the first look at the rows found."""

    rows: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    first: datetime | None = None
    last: datetime | None = None
    twice: int = 0
    """Interaction ids that good rows share."""
    plain: bool = False
    """Whether every text of the log is plain, so that nothing needs Python to be normalised."""

    @property
    def good(self) -> int:
        """Rows that are not quarantined."""
        return self.rows - sum(self.reasons.values())


def look(rows: DataFrame) -> Counts:
    """Count rows by reason, and find the window of time."""
    counts = Counts()
    for row in sorted(quarantine.looked_at(rows).collect(), key=lambda r: r["kind"] or ""):
        counts.rows += row["rows"]
        if row["kind"] is not None:
            counts.reasons[row["kind"]] = row["rows"]
        else:
            counts.first, counts.last, counts.twice = _time(row["first"]), _time(row["last"]), row["twice"]
    return counts


def judge(spark: SparkSession, rows: DataFrame, private: bool = False) -> tuple[DataFrame, Counts]:
    """`rows` with text and reason, duplicates settled, and what was found in them.

    `private` forgets the lines of JSON as they came: what was protected in the columns stands there in the clear.
    """
    plain = quarantine.judged(rows, plain_only=True)
    counts = look(plain)
    counts.plain = quarantine.ODD not in counts.reasons
    rows = plain if counts.plain else quarantine.judged(rows)
    if private:
        rows = rows.drop("_raw")
    if not counts.plain:
        counts = look(rows)
    if counts.twice:
        hashes = quarantine.id_hashes_seen_twice(rows).collect()
        rows = quarantine.without_duplicates(rows, spark.createDataFrame(hashes, "id_hash long"))
        counts = replace(look(rows), plain=counts.plain)
    return rows, counts


def _time(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def check(counts: Counts, config: MineConfig) -> None:
    """Raise ValueError where there is nothing to mine or too much is broken."""
    if counts.rows == 0:
        raise ValueError("the logs hold no rows; expected at least one turn. Is the path right, the day over?")
    bad = counts.rows - counts.good
    if bad > config.bad_share * counts.rows or counts.good == 0:
        reasons = ", ".join(f"{n} × {reason}" for reason, n in sorted(counts.reasons.items(), key=lambda kv: -kv[1]))
        raise ValueError(
            f"{bad} of {counts.rows} rows are bad, over the allowed share of {config.bad_share:g}: {reasons}. "
            "Fix the export, or raise --bad-share"
        )


def holdback_from(counts: Counts, share: float) -> datetime | None:
    """Midnight from which days are held back: the newest `share` of the window's days; None where none can be."""
    if counts.first is None or counts.last is None:
        return None
    first, last = counts.first.date(), counts.last.date()
    days = (last - first).days + 1
    held = min(max(1, round(days * share)), days - 1) if share > 0 else 0
    if held <= 0:
        return None
    return datetime(last.year, last.month, last.day, tzinfo=UTC) - timedelta(days=held - 1)


@dataclass
class Run:
    """One run's fixed surroundings, and what it reports."""

    spark: SparkSession
    config: MineConfig
    out: Path
    stage: Stage
    say: Say
    kinds: Model | None = None
    defects: DefectModel | None = None
    private: bool = False
    """Whether lines of JSON are forgotten: what was protected in the columns stands there in the clear."""
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Gathered:
    """The log by parts of whole users on disk, and what was found in it."""

    folder: Path
    parts: int
    counts: Counts
    rows: DataFrame
    """The log as Spark reads it; with reasons where every row had to be judged by itself."""


def gather(run: Run, rows: DataFrame, files: list[Path] | None = None) -> Gathered:
    """Lay the log down by parts. `rows` come from `read_logs`; `files` are theirs where tasks may read them directly.

    The first try trusts that all is UTF-8 and every id unique, and finds out on the way; where it is not so, rows are
    judged one by one and gathered again.
    """
    direct = arrow_log.splits(files) if files else None
    total, found = direct[1] if direct else rows.count(), Counts()
    config, folder = run.config, run.stage.folder / "gathered"
    if not total:
        return Gathered(folder, 0, found, rows)
    layout = gathering.Layout(folder, max(1, -(-total // config.rows_per_file)), total // config.fit_turns)
    if direct:
        numbers = run.spark.range(0, len(direct[0]), 1, len(direct[0]))
        seen = _laid_down(gathering.gathered_directly(numbers, direct[0], layout), folder)
    else:
        seen = _laid_down(gathering.gathered(quarantine.glanced_at(rows), layout), folder)
    judged = rows
    if not seen.sound or _ids_shared(run.spark, folder, total):
        judged, found = judge(run.spark, rows, run.private)
        seen = _laid_down(gathering.gathered(quarantine.blanked(judged), layout), folder)
    first, last = (None if t is None else _time(t) for t in (seen.first, seen.last))
    reasons = dict(sorted(seen.reasons.items()))
    return Gathered(folder, layout.parts, Counts(seen.rows, reasons, first, last, found.twice), judged)


def _laid_down(counts: DataFrame, folder: Path) -> gathering.Found:
    shutil.rmtree(folder, ignore_errors=True)  # what an earlier try laid down is not counted
    folder.mkdir(parents=True)
    every = gathering.Found()
    for row in counts.collect():
        every.add(row["rows"], json.loads(row["reasons"]), row["first"], row["last"], row["sound"])
    return every


HASHES_AT_ONCE = 1 << 24
"""Hashes of ids that are compared in one place: 128 MiB."""


def _ids_shared(spark: SparkSession, folder: Path, total: int) -> bool:
    """Whether interaction ids occur twice; hashes that agree by chance only cause a closer look."""
    ranges = -(-total // HASHES_AT_ONCE)
    tasks = [((n << 64) // ranges, ((n + 1) << 64) // ranges - 1) for n in range(ranges)]
    if ranges == 1:
        return gathered.shared_ids(folder, *tasks[0])

    def look(batches: Any) -> Any:
        for batch in batches:
            found = [gathered.shared_ids(folder, *tasks[n]) for n in batch.column(0).to_pylist()]
            yield pa.RecordBatch.from_pydict({"shared": found})

    found = spark.range(0, ranges, 1, ranges).mapInArrow(look, "shared boolean").collect()
    return any(row["shared"] for row in found)


def yardstick(run: Run, log: Gathered, split: datetime | None) -> Yardstick:
    """What every turn is judged by: scales and defect model of a sample of users, from days that are not held back."""
    assert log.counts.first is not None and log.counts.last is not None  # noqa: PT018 - check() has seen to it
    first_day, last_day = (micros(t) // US_PER_DAY for t in (log.counts.first, log.counts.last))
    split_us = micros(split) if split else None
    before = split_us if split_us is not None else (last_day + 1) * US_PER_DAY
    turns = Turns.of(_sample(log))
    early = turns.time_us < before
    scales = signals.scales_of(turns.log.filter(pa.array(early)))
    order = sessions(turns, run.config.session_gap_s, run.config.followup_gap_s, split_us)
    levels = np.stack(list(signals.signals(turns, order, scales).values()), axis=1)[early]
    seen, turns_each = signals.patterns(levels)
    model = run.defects or fit(seen.astype(np.float64), turns_each.astype(np.float64))
    return Yardstick(run.config, split_us, first_day, last_day - first_day + 1, scales, model, run.kinds)


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))


def _sample(log: Gathered) -> pa.Table:
    """The sample; of a few users none may be in it, and then the first part that has any stands for all."""
    rows = gathered.sample(log.folder)
    if rows is None:
        laid = gathered.Laid(log.folder)
        rows = next(rows for part in range(log.parts) if len(rows := laid.rows(range(part, part + 1))))
    return rows.combine_chunks()


def report_of(by: Yardstick) -> dict[str, Any]:
    """The defect model and its scales, for the run's report."""
    model: DefectModel = by.model
    return {**model.report(), "asr_edges": by.scales.asr_edges, "nlu_edges": by.scales.nlu_edges}


def mine(run: Run, log: Gathered, split: datetime | None) -> None:
    """Write every table and store of a run into `run.out`."""
    run.say("fitting the defect model")
    by = yardstick(run, log, split)
    run.report["defect_model"] = report_of(by)
    run.say("judging turns")
    gap = privacy.GAP if run.config.scrub else None
    task = parts.tasks(log.folder, run.stage.folder, run.out, by, gap)
    run.spark.range(0, log.parts, 1, parts.task_count(log.parts)).mapInArrow(task, parts.DONE).collect()
    sides = [(past == "past/", run.out / past) for past in parts.SIDES[: 2 if split else 1]]
    work: list[Callable[[], None]] = [
        partial(derive, run, log.parts, sides),
        partial(write_quarantine, run, log),
        partial(write_personal_store, run),
    ]
    at_once(work)
    write_global_store(run)


def at_once(work: list[Callable[[], None]]) -> None:
    """Do `work`, two at a time: most of these queries end in one task, which leaves cores idle."""
    with ThreadPoolExecutor(2) as pool:
        try:
            for future in [pool.submit(task) for task in work]:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def write_quarantine(run: Run, log: Gathered) -> None:
    """Write the bad rows: all have been counted, so there is nothing to look for where none was."""
    if log.counts.reasons:
        rows = log.rows if "reason" in log.rows.columns else quarantine.judged(quarantine.doubtful(log.rows))
        bad = quarantine.quarantined(rows.drop("_raw") if run.private else rows)
    else:
        bad = run.spark.createDataFrame([], "raw string, reason string")
    write_table(bad, run.out, "quarantine", 1)


def derive(run: Run, many: int, sides: list[tuple[bool, Path]]) -> None:
    """Sum over parts, and write every table that all users share."""
    config, files = run.config, max(1, many // 8)
    found = {name: run.spark.read.parquet((run.stage.folder / name).as_uri()) for name in parts.PARTIALS}
    run.say("summing over parts")
    texts = run.stage(spaces.texts(found["texts"]))
    nodes = run.stage(chain.nodes(found["nodes"]))
    moves = run.stage(chain.edges(found["edges"], nodes, config.pair_users, config.pair_days, config.burst_users))
    known = run.stage(outcomes.rewrite_outcomes(found["exposures"]))
    spoken = partial(chain.spoken, surfaces=chain.surfaces(found["members"], texts))
    named = spoken if config.states == "reading" else _as_they_are
    walk = partial(_write_rewrites, run, moves, nodes, known, named, files, sides)
    tables = {
        "utterances": spaces.utterances(texts, found["readings"], config.min_users, config.min_days),
        "text_outcomes": spaces.text_outcomes(texts, config.pair_users),
        "reformulations": spaces.reformulations(found["reformulations"]),
        "rewrite_outcomes": known,
        "suspects": suspects.suspects(found["shared"], found["corrections"], config.burst_users),
    }
    at_once([walk, *(partial(write_sides, frame, name, files, sides) for name, frame in tables.items())])


def _as_they_are(rewrites: DataFrame) -> DataFrame:
    return rewrites


def _write_rewrites(
    run: Run,
    moves: DataFrame,
    nodes: DataFrame,
    known: DataFrame,
    named: Callable[[DataFrame], DataFrame],
    files: int,
    sides: list[tuple[bool, Path]],
) -> None:
    """Walk the chain, give its states back their texts, and write what no outcome speaks against."""
    config, kept = run.config, []

    def keep(paths: DataFrame) -> DataFrame:
        kept.append(paths.persist())
        return kept[-1]

    reach = chain.reachable(moves, config.chain_steps, config.chain_min_reach, keep)
    found = chain.rewrites(reach, nodes, config.targets_per_source, config.chain_min_success)
    write_sides(outcomes.without_withdrawn(named(found), known), "rewrites", files, sides)
    for paths in kept:
        paths.unpersist()


def write_global_store(run: Run) -> None:
    """Write the global marisa store from its published table."""
    import pyarrow.parquet as pq

    texts = pq.read_table(run.out / "utterances", columns=["text"])["text"].to_pylist()
    write_global(texts, run.out / "stores" / "global" / "utterances.marisa")


def write_personal_store(run: Run) -> None:
    """Write the personal marisa store from its table, which is whole as soon as the turns are judged."""
    personal = run.spark.read.parquet((run.out / "personal").as_uri())
    built = shards.personal_shards(personal, run.config.personal_shards).toLocalIterator()
    pieces = ((row["shard"], bytes(row["data"])) for row in built)
    write_personal(pieces, run.config.personal_shards, run.out / "stores" / "personal")
