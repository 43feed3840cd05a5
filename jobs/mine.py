"""`reprise mine`: logs in, tables and stores out."""

import hashlib
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mining.config import MineConfig

LEAST_MEMORY = 512 * 2**20
"""Of the Java heap, bytes; Spark refuses to start with less than some 450 MiB."""

VERSION = 1
"""Of the tables' layout; part of what makes a finished run the same run."""


def mine(
    logs: Annotated[list[Path], typer.Argument(help="Parquet or JSON-lines files or folders.")],
    out: Annotated[Path, typer.Option(help="Run directory to write.")],
    min_users: Annotated[int, typer.Option(help="Distinct users a text must have worked for to be global.")] = 5,
    min_days: Annotated[int, typer.Option(help="Distinct days it must have worked on.")] = 2,
    pair_users: Annotated[int, typer.Option(help="Distinct users behind a reformulation, or a text's outcome.")] = 2,
    pair_days: Annotated[int, typer.Option(help="Distinct days on which they must have made a reformulation.")] = 2,
    bad_share: Annotated[float, typer.Option(help="Share of bad rows above which the run fails.")] = 0.05,
    holdback: Annotated[float, typer.Option(help="Share of the newest days that past/ does not see; 0: none.")] = 0.25,
    scrub: Annotated[str, typer.Option(help="Taken out of texts, comma-separated: email, number.")] = "",
    names: Annotated[Path | None, typer.Option(help="Names to take out of texts, one a line.")] = None,
    user_key: Annotated[Path | None, typer.Option(help="Key file: user ids become their HMAC-SHA256.")] = None,
    forget: Annotated[Path | None, typer.Option(help="User ids, one a line, of whom no trace may remain.")] = None,
    kinds: Annotated[
        Path, typer.Option(help="What tells corrections: `shipped`, `rules`, or a model by `python -m jobs.fit_kinds`.")
    ] = Path("shipped"),
    defects: Annotated[
        Path | None, typer.Option(help="Defect model (`python -m jobs.fit_defects`); default: fitted to the log.")
    ] = None,
    states: Annotated[str, typer.Option(help="States of the Markov chain: text, or reading (the NLU's).")] = "text",
    shards: Annotated[int, typer.Option(help="Shards of the personal store.")] = 16,
    memory: Annotated[str, typer.Option(help="Java heap of a local Spark.")] = "4g",
    cores: Annotated[int, typer.Option(min=0, help="Cores of a local Spark; 0: all.")] = 0,
    overwrite: Annotated[bool, typer.Option(help="Replace a finished run of other inputs or settings.")] = False,
) -> None:
    """Mine interaction logs on Spark into tables and utterance stores."""
    from jobs.progress import teller
    from mining.config import MineConfig

    config = MineConfig(
        min_users=min_users,
        min_days=min_days,
        pair_users=pair_users,
        pair_days=pair_days,
        bad_share=bad_share,
        holdback=holdback,
        personal_shards=shards,
        states=states,
        scrub=_kinds_of(scrub),
    )
    guard, models = Guard.read(names, user_key, forget), Models.read(kinds, defects)
    say = teller()
    how: dict[str, Any] = {
        "guard": guard,
        "models": models,
        "overwrite": overwrite,
        "memory": memory,
        "cores": cores or None,
    }
    for line in run(logs, out, config, say=say, **how):
        typer.echo(line)


def _kinds_of(scrub: str) -> tuple[str, ...]:
    from mining.config import SCRUBS

    wanted = sorted({kind.strip() for kind in scrub.split(",")} - {""})
    if unknown := [kind for kind in wanted if kind not in SCRUBS]:
        hint = "names go by --names FILE" if set(unknown) & {"name", "names"} else "a typing slip?"
        raise ValueError(f"cannot take that out; got --scrub {scrub}; expected some of {', '.join(SCRUBS)}; {hint}")
    return tuple(wanted)


@dataclass(frozen=True)
class Models:
    """What stands in for the rules of follow-ups, and for a model of defects fitted to the log itself."""

    kinds: Any = None
    """A `mining.models.Model`; None for the rules."""
    defects: Any = None
    """A `mining.defects.DefectModel`."""
    kinds_id: str = ""
    defects_id: str = ""

    @staticmethod
    def read(kinds: Path = Path("shipped"), defects: Path | None = None) -> "Models":
        """From the files that the command names; `shipped` is the model of follow-ups that comes with the project,
        `rules` is none.

        Raises:
            ValueError: a file is missing, or is no such model.
        """
        from jobs.rundir import sha256
        from mining import models
        from mining.defects import DefectModel
        from mining.likeness_model import SHIPPED

        named = {Path("shipped"): SHIPPED, Path("rules"): None}.get(kinds, kinds)
        if named is not None and not named.is_file():
            raise ValueError(f"no model of follow-ups; got {kinds}; expected shipped, rules, or a file; a typing slip?")
        return Models(
            None if named is None else read_model(named, models.read),
            None if defects is None else read_model(defects, DefectModel.from_json),
            sha256(named) if named else "",
            sha256(defects) if defects else "",
        )

    def applied_to(self, config: "MineConfig") -> "MineConfig":
        """`config` with the models' fingerprints, so that another model makes another run."""
        return replace(config, kinds_id=self.kinds_id, defects_id=self.defects_id)


def read_model(path: Path, read: Callable[[str], Any]) -> Any:
    """The model in a file, by what reads its text.

    Raises:
        ValueError: the file is missing, or holds something else.
    """
    stored = _bytes(path)
    try:
        return read(stored.decode("utf-8"))
    except (AttributeError, KeyError, TypeError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path}: not a model of this kind ({error}); was it written by another command?") from error


@dataclass(frozen=True)
class Guard:
    """What protects people in one run; only fingerprints of it are written down."""

    names: tuple[str, ...] = ()
    user_key: bytes = b""
    forgotten: tuple[str, ...] = ()

    @staticmethod
    def read(names: Path | None, user_key: Path | None, forget: Path | None) -> "Guard":
        """From the files that the command names.

        Raises:
            ValueError: a file is missing, or the key is shorter than 16 bytes.
        """
        key = _bytes(user_key)
        if user_key is not None and len(key) < 16:
            raise ValueError(f"{user_key}: the key has {len(key)} bytes; expected at least 16 random ones")
        return Guard(_lines(names), key, _lines(forget))

    def applied_to(self, config: "MineConfig") -> "MineConfig":
        """`config` with the fingerprints, so that another list or key makes another run."""
        lists = "\n".join([*sorted(self.forgotten), "", *sorted(self.names)])
        return replace(
            config,
            user_key_id=_digest(b"reprise key " + self.user_key)[:16] if self.user_key else "",
            forgotten_id=_digest(lists.encode()) if self.forgotten or self.names else "",
            scrub=tuple(sorted({*config.scrub, *(["names"] if self.names else [])})),
        )

    def protect(self, spark: Any, rows: Any, scrub: tuple[str, ...]) -> Any:
        """Rows without the forgotten, under pseudonyms, with gaps in texts: before anything else looks at them."""
        from mining import privacy

        if self.forgotten:
            rows = privacy.without_users(rows, spark.createDataFrame([(u,) for u in self.forgotten], "user_id string"))
        if self.user_key:
            rows = privacy.with_pseudonyms(rows, self.user_key)
        if scrub:
            rows = privacy.scrubbed(rows, tuple(kind for kind in scrub if kind != "names"), self.names)
        return rows


def _bytes(path: Path | None) -> bytes:
    if path is None:
        return b""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected the file that the command names; a typing slip?")
    return path.read_bytes().strip()


def _lines(path: Path | None) -> tuple[str, ...]:
    try:
        lines = _bytes(path).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: no text in UTF-8 ({error}); expected one entry a line; another file?") from error
    return tuple(sorted({line.strip() for line in lines if line.strip()}))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def run(
    logs: list[Path],
    out: Path,
    config: "MineConfig",
    *,
    guard: Guard = Guard(),
    models: Models | None = None,
    overwrite: bool = False,
    memory: str = "4g",
    cores: int | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> list[str]:
    """Mine `logs` into `out`; returns lines that sum it up. Without `models`, those that the command uses by itself.

    Raises:
        ValueError: the logs cannot be mined, or `out` holds another run and `overwrite` is false.
    """
    from jobs.rundir import complete, manifest_of, published, write_json

    check_logs(logs)
    check_memory(memory)
    inputs = fingerprints(logs)
    models = models or Models.read()
    config = models.applied_to(guard.applied_to(config))
    identity = {"version": VERSION, "inputs": inputs, "config": config.as_dict()}
    if complete(out) and _same(manifest_of(out), identity):
        return [f"{out} is already complete: same inputs, same settings; nothing to do"]
    if out.exists() and not overwrite:
        raise ValueError(
            f"{out} exists and was mined from other inputs or settings; choose another --out or --overwrite"
        )
    with published(out, overwrite) as folder:
        total = sum(entry["bytes"] for entry in inputs)
        manifest, report = _mine(logs, folder, config, guard, models, memory, cores, say, total)
        write_json(folder / "report.json", report)
        write_json(folder / "manifest.json", _manifest(folder, identity, manifest))
    return _summary(out, manifest_of(out))


def check_logs(logs: list[Path]) -> None:
    """Say that a file is no log, or that a log lacks columns, before Spark has started.

    Raises:
        ValueError: another format, a required column is absent, or nothing is there.
    """
    from jobs.log_files import check_formats, columns
    from mining.schema import check_columns

    for path in logs:
        check_formats(path)
        for where, names in columns(path).items():
            check_columns(names, str(where))


def check_memory(memory: str) -> None:
    """Say what is wrong with `--memory` before Java does, in words of its own.

    Raises:
        ValueError: not an amount as Java takes it, or less than Spark starts with.
    """
    found = re.fullmatch(r"(\d+)([kmgt])", memory.lower())
    bytes_of = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
    if found is None or int(found[1]) * bytes_of[found[2]] < LEAST_MEMORY:
        raise ValueError(
            f"no amount of memory; got --memory {memory}; expected 512m or more, as 4g; is the unit missing?"
        )


def fingerprints(logs: list[Path]) -> list[dict[str, Any]]:
    """Path, size and SHA-256 of every input file, in the order of their content's hash."""
    from jobs.log_files import expand
    from jobs.rundir import sha256

    found = [{"path": str(f), "bytes": f.stat().st_size, "sha256": sha256(f)} for log in logs for f in expand(log)]
    return sorted(found, key=lambda entry: str(entry["sha256"]))


def _same(manifest: dict[str, Any], identity: dict[str, Any]) -> bool:
    """Whether a finished run had this identity; where the inputs lie does not matter, what is in them does."""

    def essence(of: dict[str, Any]) -> tuple[Any, ...]:
        return of["version"], [entry["sha256"] for entry in of["inputs"]], of["config"]

    return essence(manifest) == essence(identity)


def _mine(
    logs: list[Path],
    folder: Path,
    config: "MineConfig",
    guard: Guard,
    models: Models,
    memory: str,
    cores: int | None,
    say: Callable[[str], None],
    input_bytes: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run Spark into `folder`; returns the manifest's and the report's share of what was found."""
    from jobs import mining
    from jobs.log_files import parquet_files
    from jobs.log_reading import SPARK_ERRORS, cause, read_logs
    from jobs.spark_tables import Stage
    from mining.spark import running, settings_for

    say("starting Spark")
    with running(cores, memory, settings_for(input_bytes)) as spark:
        stage = Stage(spark, Path(tempfile.mkdtemp(prefix="stage-", dir=folder)))
        private = bool(guard.user_key or guard.forgotten or config.scrub)
        job = mining.Run(spark, config, folder, stage, say, models.kinds, models.defects, private)
        try:
            say("gathering turns by user")
            rows = guard.protect(spark, read_logs(spark, logs), config.scrub)
            log = mining.gather(job, rows, None if private else parquet_files(logs))
            mining.check(log.counts, config)
            split = mining.holdback_from(log.counts, config.holdback)
            mining.mine(job, log, split)
        except SPARK_ERRORS as error:
            raise ValueError(f"mining failed: {cause(error)}; is a log file damaged, or the disk full?") from error
        finally:
            stage.close()
    return _window(log.counts, split), {**job.report, "rows": log.counts.rows, "quarantined": log.counts.reasons}


def _window(counts: Any, split: Any) -> dict[str, Any]:
    return {
        "rows": counts.rows,
        "window": {"first": counts.first.isoformat(), "last": counts.last.isoformat()},
        "holdback_from": split.isoformat() if split else None,
    }


def _manifest(folder: Path, identity: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    from jobs.rundir import files_of

    return {**identity, **found, "tables": table_rows(folder), "files": files_of(folder)}


def table_rows(folder: Path) -> dict[str, int]:
    """Rows of every table of a run, `past/` included, from the files' footers."""
    import pyarrow.parquet as pq

    rows: dict[str, int] = {}
    for part in sorted(folder.rglob("part-*.parquet")):
        name = part.parent.relative_to(folder).as_posix()
        rows[name] = rows.get(name, 0) + pq.read_metadata(part).num_rows
    return rows


def _summary(out: Path, manifest: dict[str, Any]) -> list[str]:
    tables = {name: n for name, n in manifest["tables"].items() if not name.startswith("past/")}
    lines = [f"{out}: " + ", ".join(f"{n} {name}" for name, n in tables.items())]
    if not tables.get("utterances"):
        floor = manifest["config"]["min_users"]
        lines.append(
            f"the global space is empty: no text worked for {floor} distinct users; only personal texts were mined"
        )
    return lines
