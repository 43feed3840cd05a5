"""One mining run on Spark: judge, fit, write the turns, derive every other table, for all days and for the past."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.spark_tables import Stage, write_sorted, write_table
from mining import (
    chain,
    outcomes,
    privacy,
    quarantine,
    reformulations,
    sessions,
    shards,
    signals,
    spaces,
    suspects,
    votes,
)
from mining.config import MineConfig
from mining.defects import DefectModel, defect_probability, fit, prior_model
from mining.store import write_global, write_personal

Say = Callable[[str], None]
T = TypeVar("T")


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
    counts: Counts
    split: datetime | None
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> int:
        """Files of the turns table."""
        return -(-self.counts.good // self.config.rows_per_file)

    @property
    def split_iso(self) -> str | None:
        """The holdback's beginning as text."""
        return self.split.isoformat() if self.split else None


def sessioned(run: Run, rows: DataFrame) -> DataFrame:
    """Good rows in user order, with sessions and follow-ups: the one shuffle by user.

    Texts come first: Spark forgets how rows are spread once Python has touched them, and would shuffle again.
    """
    rows = sessions.with_effective_text(rows, run.counts.plain).repartition(max(1, run.files), "user_id")
    rows = sessions.with_sessions(rows, run.config.session_gap_s, run.split_iso)
    return sessions.with_followup(rows, run.config.followup_gap_s)


def fitted(run: Run, sample: DataFrame) -> tuple[signals.Scales, DataFrame, DefectModel]:
    """Scales, dwell medians and defect model of sessioned turns, from days that are not held back."""
    if run.split_iso:
        sample = sample.where(F.col("timestamp") < F.lit(run.split_iso).cast("timestamp"))
    [row] = signals.scales_of(sample).collect()
    scales = signals.Scales(tuple(row["asr_edges"] or ()), tuple(row["nlu_edges"] or ()), row["dwell_median_s"])
    usual = signals.dwell_medians(sample).collect()
    medians = run.spark.createDataFrame(usual, "intent string, usual_dwell_s double")
    table = signals.patterns(signals.with_signals(sample, scales, medians)).collect()
    if not table:
        return scales, medians, prior_model()
    levels = np.array([[row[name] for name in signals.LEVELS] for row in table])
    return scales, medians, fit(levels, np.array([row["turns"] for row in table]))


def sample_of(run: Run, good: DataFrame, turns: DataFrame) -> DataFrame:
    """Sessioned turns of a sample of users: all of a small log, which the caller then keeps in memory anyway."""
    buckets = run.counts.good // run.config.fit_turns
    if buckets <= 1:
        return turns
    some = good.where(F.pmod(F.xxhash64("user_id"), F.lit(buckets)) == 0)
    return run.stage(sessioned(run, some).select(*_SIGNAL_INPUTS))


_SIGNAL_INPUTS = (
    "user_id",
    "timestamp",
    "interaction_id",
    "intent",
    "status",
    "interrupted",
    "dwell_s",
    "asr_confidence",
    "nlu_confidence",
    "followup",
    "_last",
    "next_gap_s",
)


def turns_of(run: Run, turns: DataFrame, scales: signals.Scales, medians: DataFrame, model: DefectModel) -> DataFrame:
    """The table `turns`, from sessioned ones."""
    turns = signals.with_signals(turns, scales, medians)
    turns = turns.withColumn("defect_probability", defect_probability(model))
    turns = reformulations.with_kind(turns, run.config.pair_gap_s)
    turns = reformulations.with_resolution(turns)
    return turns.select(*(c for c in turns.columns if not c.startswith("_") and c != "reason"))


def mine(run: Run, rows: DataFrame) -> None:
    """Write every table and store of a run into `run.out`; `rows` are judged."""
    good = rows.where(F.col("reason").isNull())
    spread = sessioned(run, good)
    small = run.counts.good <= run.config.fit_turns
    turns = spread.persist() if small else spread  # a small log is judged and sorted once for fitting and writing
    run.say("fitting the defect model")
    scales, medians, model = fitted(run, sample_of(run, good, turns))
    run.report["defect_model"] = {**model.report(), "asr_edges": scales.asr_edges, "nlu_edges": scales.nlu_edges}
    run.say("writing turns")
    table = turns_of(run, turns, scales, medians, model).sortWithinPartitions("user_id", "timestamp", "interaction_id")
    write_sorted(table, run.out / "turns")
    turns.unpersist()
    bad = quarantine.quarantined(rows)
    if not run.counts.reasons:  # nothing to look for: an empty table of the same form
        bad = run.spark.createDataFrame([], bad.schema)
    write_table(bad, run.out, "quarantine", 1)
    evidence = Evidence.gather(run, run.spark.read.schema(table.schema).parquet((run.out / "turns").as_uri()))
    work = [partial(derive, run, evidence, run.out)]
    if run.split:
        work.append(partial(derive, run, evidence.before(run.split), run.out / "past"))
    at_once(work)
    run.say("building stores")
    write_stores(run)


@dataclass
class Evidence:
    """User-day votes, staged once: whatever is derived reads these and never the turns again."""

    asks: DataFrame
    moves: DataFrame
    pairs: DataFrame
    resolutions: DataFrame
    exposures: DataFrame

    @staticmethod
    def gather(run: Run, turns: DataFrame) -> "Evidence":
        """Votes of all turns that count."""
        run.say("gathering evidence")
        counted = votes.counted(turns, run.config.max_turns_per_user_day)
        if run.config.scrub:
            counted = votes.without_gaps(counted, privacy.GAP)
        exposures = outcomes.exposures(counted, run.counts.plain)
        parts = (*(kind(counted) for kind in (votes.asks, votes.moves, votes.pairs, votes.resolutions)), exposures)
        return Evidence(*at_once([partial(run.stage, part) for part in parts]))

    def before(self, moment: datetime) -> "Evidence":
        """The votes of days before `moment`, a midnight."""
        day = F.lit(moment.date())
        frames = (self.asks, self.moves, self.pairs, self.resolutions, self.exposures)
        return Evidence(*(frame.where(F.col("day") < day) for frame in frames))


def at_once(work: Sequence[Callable[[], T]]) -> list[T]:
    """Results of `work`, two at a time: most of these queries end in one task, which leaves cores idle."""
    with ThreadPoolExecutor(2) as pool:
        return [future.result() for future in [pool.submit(task) for task in work]]


def derive(run: Run, evidence: Evidence, out: Path) -> None:
    """Write every table that follows from `evidence` into `out`."""
    config, where = run.config, " of the past" if out != run.out else ""
    files = max(1, run.files // 8)
    run.say(f"deriving spaces{where}")
    users = run.stage(spaces.by_user(evidence.asks))
    tables = {
        "utterances": spaces.utterances(users, evidence.asks, config.min_users, config.min_days),
        "personal": spaces.personal(users, evidence.asks),
        "text_outcomes": spaces.text_outcomes(users, config.min_users),
        "reformulations": spaces.reformulations(evidence.pairs),
        "personal_rewrites": spaces.personal_rewrites(evidence.resolutions),
        "rewrite_outcomes": outcomes.rewrite_outcomes(evidence.exposures),
        "suspects": suspects.suspects(evidence.pairs, config.burst_users, config.unshared_pairs),
    }
    for name, frame in tables.items():
        write_table(frame, out, name, files)
    run.say(f"walking the chain{where}")
    moves = run.stage(votes.newest_days(evidence.moves, config.max_user_votes))
    texts = run.stage(chain.nodes(moves))
    edges = run.stage(chain.edges(moves, texts, config.pair_users, config.burst_users))
    reach = chain.reachable(edges, config.chain_steps, config.chain_min_reach, keep=run.stage)
    found = chain.rewrites(reach, texts, config.targets_per_source, config.chain_min_success)
    known = run.spark.read.parquet((out / "rewrite_outcomes").as_uri())
    write_table(outcomes.without_withdrawn(found, known), out, "rewrites", files)


def write_stores(run: Run) -> None:
    """Write both marisa stores from the published tables."""
    import pyarrow.parquet as pq

    stores = run.out / "stores"
    texts = pq.read_table(run.out / "utterances", columns=["text"])["text"].to_pylist()
    write_global(texts, stores / "global" / "utterances.marisa")
    personal = run.spark.read.parquet((run.out / "personal").as_uri())
    built = shards.personal_shards(personal, run.config.personal_shards).toLocalIterator()
    pieces = ((row["shard"], bytes(row["data"])) for row in built)
    write_personal(pieces, run.config.personal_shards, stores / "personal")
