"""One mining run on Spark: judge, fit, write the turns, derive every other table, for all days and for the past."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.spark_tables import Stage, write_sorted, write_table
from mining import chain, quarantine, reformulations, sessions, shards, signals, spaces, votes
from mining.config import MineConfig
from mining.defects import DefectModel, defect_probability, fit, prior_model
from mining.store import write_global, write_personal

Say = Callable[[str], None]


@dataclass
class Counts:
    """What the first look at the rows found."""

    rows: int = 0
    inputs: dict[int, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    first: datetime | None = None
    last: datetime | None = None

    @property
    def good(self) -> int:
        """Rows that are not quarantined."""
        return self.rows - sum(self.reasons.values())


def look(rows: DataFrame) -> Counts:
    """Count rows by input and by reason, and find the window of time."""
    # a length in the reason would make every over-long row a kind of its own
    kind = F.regexp_replace("reason", r"of \d+ characters", "of too many characters").alias("kind")
    found = rows.groupBy("_input", kind).agg(
        F.count(F.lit(1)).alias("n"),
        F.unix_micros(F.min("timestamp")).alias("first"),
        F.unix_micros(F.max("timestamp")).alias("last"),
    )
    counts, times = Counts(), []
    for row in sorted(found.collect(), key=lambda r: (r["_input"], r["kind"] or "")):
        counts.rows += row["n"]
        counts.inputs[row["_input"]] = counts.inputs.get(row["_input"], 0) + row["n"]
        if row["kind"] is not None:
            counts.reasons[row["kind"]] = counts.reasons.get(row["kind"], 0) + row["n"]
        else:
            times += [row["first"], row["last"]]
    if times:
        counts.first, counts.last = _time(min(times)), _time(max(times))
    return counts


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
    assert counts.first and counts.last
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
    """Good rows in user order, with sessions and follow-ups."""
    rows = sessions.with_sessions(sessions.with_effective_text(rows), run.config.session_gap_s, run.split_iso)
    return sessions.with_followup(rows, run.config.followup_gap_s)


def fitted(run: Run, rows: DataFrame) -> tuple[signals.Scales, DataFrame, DefectModel]:
    """Scales, dwell medians and defect model of a sample of users, from days that are not held back."""
    buckets = max(1, run.counts.good // run.config.fit_turns)
    sample = rows.where(F.pmod(F.xxhash64("user_id"), F.lit(buckets)) == 0)
    if run.split_iso:
        sample = sample.where(F.col("timestamp") < F.lit(run.split_iso).cast("timestamp"))
    sample = run.stage(sessioned(run, sample).select(*_SIGNAL_INPUTS))
    [row] = signals.scales_of(sample).collect()
    scales = signals.Scales(tuple(row["asr_edges"] or ()), tuple(row["nlu_edges"] or ()), row["dwell_median_s"])
    medians = run.stage(signals.dwell_medians(sample))
    table = signals.patterns(signals.with_signals(sample, scales, medians)).collect()
    if not table:
        return scales, medians, prior_model()
    levels = np.array([[row[name] for name in signals.LEVELS] for row in table])
    return scales, medians, fit(levels, np.array([row["turns"] for row in table]))


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


def turns_of(run: Run, rows: DataFrame, scales: signals.Scales, medians: DataFrame, model: DefectModel) -> DataFrame:
    """The table `turns`."""
    turns = signals.with_signals(sessioned(run, rows), scales, medians)
    turns = turns.withColumn("defect_probability", defect_probability(model))
    turns = reformulations.with_kind(turns, run.config.pair_gap_s)
    turns = reformulations.with_resolution(turns)
    return turns.select(*(c for c in turns.columns if not c.startswith("_") and c != "reason"))


def mine(run: Run, rows: DataFrame) -> None:
    """Write every table and store of a run into `run.out`; `rows` are judged."""
    good = rows.where(F.col("reason").isNull())
    run.say("fitting the defect model")
    scales, medians, model = fitted(run, good)
    run.report["defect_model"] = {**model.report(), "asr_edges": scales.asr_edges, "nlu_edges": scales.nlu_edges}
    run.say("writing turns")
    spread = good.repartition(max(1, run.files), "user_id")
    turns = turns_of(run, spread, scales, medians, model).sortWithinPartitions("user_id", "timestamp", "interaction_id")
    write_sorted(turns, run.out / "turns")
    write_table(quarantine.quarantined(rows), run.out, "quarantine", 1)
    evidence = Evidence.gather(run, run.spark.read.schema(turns.schema).parquet((run.out / "turns").as_uri()))
    run.report["tables"] = derive(run, evidence, run.out)
    if run.split:
        run.report["past"] = derive(run, evidence.before(run.split), run.out / "past")
    run.say("building stores")
    write_stores(run)


@dataclass
class Evidence:
    """User-day votes, staged once: whatever is derived reads these and never the turns again."""

    asks: DataFrame
    moves: DataFrame
    pairs: DataFrame
    resolutions: DataFrame

    @staticmethod
    def gather(run: Run, turns: DataFrame) -> "Evidence":
        """Votes of all turns that count."""
        run.say("gathering evidence")
        counted = votes.counted(turns, run.config.max_turns_per_user_day)
        parts: Iterable[DataFrame] = (f(counted) for f in (votes.asks, votes.moves, votes.pairs, votes.resolutions))
        return Evidence(*(run.stage(part) for part in parts))

    def before(self, moment: datetime) -> "Evidence":
        """The votes of days before `moment`, a midnight."""
        day = F.lit(moment.date())
        frames = (self.asks, self.moves, self.pairs, self.resolutions)
        return Evidence(*(frame.where(F.col("day") < day) for frame in frames))


def derive(run: Run, evidence: Evidence, out: Path) -> dict[str, Any]:
    """Write every table that follows from `evidence` into `out`; returns what the chain and spaces say of themselves."""
    config, where = run.config, " of the past" if out != run.out else ""
    files = max(1, run.files // 4)
    run.say(f"deriving spaces{where}")
    users = run.stage(spaces.by_user(evidence.asks))
    tables = {
        "utterances": spaces.utterances(users, evidence.asks, config.min_users, config.min_days),
        "personal": spaces.personal(users, evidence.asks),
        "text_outcomes": spaces.text_outcomes(users, config.min_users),
        "reformulations": spaces.reformulations(evidence.pairs),
        "personal_rewrites": spaces.personal_rewrites(evidence.resolutions),
    }
    for name, frame in tables.items():
        write_table(frame, out, name, files)
    run.say(f"walking the chain{where}")
    texts = run.stage(chain.nodes(evidence.moves))
    edges = run.stage(chain.edges(evidence.moves, texts, config.pair_users))
    reach = chain.reachable(edges, config.chain_steps, config.chain_min_reach, keep=run.stage)
    found = chain.rewrites(reach, texts, config.targets_per_source, config.chain_min_success)
    write_table(found, out, "rewrites", files)
    return {}


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
