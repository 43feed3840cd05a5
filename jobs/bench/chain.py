"""`reprise bench chain`: does the Markov chain find better targets than the most frequent reformulation?"""

import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Annotated, Any

import typer


def chain(
    voicelogs: Annotated[Path, typer.Option(help="Folder: history.parquet, history_truth.parquet, oracle.parquet.")],
    min_users: Annotated[int, typer.Option(help="As for `reprise mine`.")] = 3,
    json: Annotated[Path | None, typer.Option(help="Where to write the figures.")] = None,
    memory: Annotated[str, typer.Option(help="Java heap of the driver.")] = "4g",
    cores: Annotated[int, typer.Option(help="Local cores; 0: all.")] = 0,
) -> None:
    """Precision of the top-ranked mined target of every source, with and without the chain, against the oracle.

    All is mined from the history; turns of the history that were misunderstood are scored. Without the chain, the
    target of a source is the correction or rewording that most users made.
    """
    report = measure(voicelogs, min_users, memory, cores or None)
    for row in report["rows"]:
        typer.echo(
            f"{row['system']:34s} {row['sources']:5d} sources  precision {row['source_precision']:.3f} by source, "
            f"{row['precision']:.3f} by turn  reaches {row['coverage']:.3f} of misunderstood turns"
        )
    if json is not None:
        import json as writer

        json.write_text(writer.dumps(report, indent=1) + "\n")


def measure(voicelogs: Path, min_users: int, memory: str = "4g", cores: int | None = None) -> dict[str, Any]:
    """A row per system: sources, source_precision, precision, coverage."""
    from jobs.mine import run
    from mining.config import STATES, MineConfig
    from mining.spark import running, settings_for

    log = voicelogs / "history.parquet"
    score = Scorer.read(voicelogs)
    rows = []
    with tempfile.TemporaryDirectory() as folder, running(cores, memory, settings_for(log.stat().st_size)):
        for states in STATES:
            config = MineConfig(min_users=min_users, states=states, holdback=0.0)
            out = Path(folder) / states
            run([log], out, config)
            if states == "text":
                rows.append({"system": "most frequent reformulation", **score.of(most_frequent(out, config))})
            rows.append({"system": f"chain over {states}s, reach × success", **score.of(best_by_worth(out))})
    return {"rows": rows, "min_users": min_users}


def best_by_worth(mined: Path) -> dict[str, str]:
    """The target with the most worth for every source of the table `rewrites`."""
    rows = _rows(mined / "rewrites", "source", "target", "worth")
    return {row["source"]: row["target"] for row in sorted(rows, key=lambda r: (r["worth"], r["target"]))}


def most_frequent(mined: Path, config: Any) -> dict[str, str]:
    """The correction or rewording of every source that most users made, under the same floors as the chain's moves."""
    from mining.reformulations import CORRECTIVE

    users: Counter[tuple[str, str]] = Counter()
    for row in _rows(mined / "reformulations", "source", "target", "kind", "users", "days"):
        enough = row["users"] >= config.pair_users and row["days"] >= config.pair_days
        if enough and row["kind"] in CORRECTIVE and row["source"] != row["target"]:
            users[row["source"], row["target"]] += row["users"]
    return {source: target for (source, target), _ in sorted(users.items(), key=lambda item: (item[1], item[0]))}


def _rows(table: Path, *columns: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(table, columns=list(columns)).to_pylist()
    return rows


class Scorer:
    """What the users of misunderstood turns wanted, by the text that was heard."""

    def __init__(self, wants: dict[str, list[Any]], oracle: Any) -> None:
        """`wants`: `jobs.truth.Want` of every misunderstood turn, by normalised text; `oracle`: from `read_oracle`."""
        self.wants, self.oracle = wants, oracle

    @staticmethod
    def read(voicelogs: Path) -> "Scorer":
        """From the history and its truth."""
        from jobs.truth import read_oracle, read_truth
        from rewrite.text import normalise

        heard = _rows(voicelogs / "history.parquet", "interaction_id", "utterance")
        truth = read_truth(voicelogs / "history_truth.parquet", [row["interaction_id"] for row in heard])
        wants: dict[str, list[Any]] = defaultdict(list)
        for row, want, curable in zip(heard, truth.wants, truth.curable.tolist(), strict=True):
            if curable:
                wants[normalise(row["utterance"])].append(want)
        return Scorer(wants, read_oracle(voicelogs / "oracle.parquet"))

    def of(self, targets: dict[str, str]) -> dict[str, float]:
        """Scores of one target per source; by turn: over the misunderstood turns that have a target."""
        from jobs.truth import satisfied

        hits = {
            source: [satisfied(target, self.oracle.get(target), want) for want in self.wants[source]]
            for source, target in targets.items()
            if self.wants.get(source)
        }
        turns, right = sum(map(len, hits.values())), sum(map(sum, hits.values()))
        every = sum(map(len, self.wants.values()))
        mostly = sum(2 * sum(own) > len(own) for own in hits.values())
        return {
            "sources": len(hits),
            "source_precision": mostly / max(1, len(hits)),
            "precision": right / max(1, turns),
            "coverage": turns / max(1, every),
        }
