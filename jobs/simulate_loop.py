"""`reprise simulate-loop`: weeks of users living with the service, the loop running every night, in one picture."""

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.simulate import DEMO

if TYPE_CHECKING:
    from jobs.loop.life import LifeConfig, Told


def simulate_loop(
    out: Annotated[Path, typer.Argument(help="Folder for result.json, picture.svg, logs and the registry.")],
    users: Annotated[int, typer.Option(min=20, help="Users; each makes about 4 turns a day.")] = 200,
    days: Annotated[int, typer.Option(min=8, help="Days; the loop runs from the seventh night on.")] = 21,
    window: Annotated[int, typer.Option(min=7, help="Days of logs that a night's run reads.")] = 14,
    attack: Annotated[int, typer.Option(help="Day on which colluding accounts begin; -1: never.")] = 10,
    shift: Annotated[int, typer.Option(help="Day on which new things are asked, heard in new ways; -1: never.")] = 14,
    bad_push: Annotated[float, typer.Option(help="Day (and part of it) of a faulty bundle; -1: never.")] = 18.5,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    prove: Annotated[bool, typer.Option(help="As of `reprise run`.")] = False,
    memory: Annotated[str, typer.Option(help="Java heap of Spark.")] = "1g",
) -> None:
    """Live through weeks with and without the service, and draw defects per day."""
    from jobs.loop.events import Events
    from jobs.loop.life import LifeConfig

    shutil.rmtree(out, ignore_errors=True)
    events = Events(
        attack=attack if attack >= 0 else None,
        shift=shift if shift >= 0 else None,
        bad_push=bad_push if bad_push >= 0 else None,
    )
    config = LifeConfig(users=users, days=days, window_days=window, seed=seed, events=events)
    result = run(config, out, memory, prove=prove, say=typer.echo)
    for line in result["summary"]:
        typer.echo(line)
    typer.echo(f"picture {out / 'picture.svg'}, numbers {out / 'result.json'}")


def run(
    config: "LifeConfig",
    out: Path,
    memory: str = "1g",
    prove: bool = False,
    night: Callable[[], AbstractContextManager[Any]] = nullcontext,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Play both lives and write result.json and picture.svg; `night` is entered around every night's run."""
    from dataclasses import asdict, replace

    import numpy as np
    import pyarrow.parquet as pq

    from jobs.loop.account import account
    from jobs.loop.life import Life
    from jobs.loop.picture import picture
    from jobs.world.grammar import spoken_catalogue
    from jobs.world.hearing import recordings
    from jobs.world.speak import CATALOGUE_SEED

    spoken = recordings(pq.read_table(DEMO / "recognitions.parquet"))
    lives: dict[str, Told] = {}
    for name, served in (("without", False), ("with", True)):
        catalogue = spoken_catalogue(np.random.default_rng(CATALOGUE_SEED))
        lived = replace(config, with_service=served)
        life = Life(lived, catalogue, spoken, lambda logs: plan(logs, memory, prove), out / name, night)
        lives[name] = life.live(say)
    result = {"config": asdict(config), **account(lives["with"], lives["without"], config)}
    (out / "result.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "picture.svg").write_text(picture(result), encoding="utf-8")
    return result


def plan(logs: tuple[Path, ...], memory: str, prove: bool = False) -> Any:
    """A night's plan, for a small population: lower floors than by default, no generator."""
    from jobs.learn import LearnConfig
    from jobs.pipeline.checks import Limits
    from jobs.pipeline.steps import Plan
    from mining.config import MineConfig

    limits = Limits(rows=500, new_pair_share=1.0, intent_drift=0.5, latency_p95_ms=5_000.0, harm=0.01)
    learning = LearnConfig(model=None, most_rescored=800)
    return Plan(logs, MineConfig(min_users=3), learning, limits, replayed=300, prove=prove, memory=memory, cores=1)
