"""`reprise offpolicy`: would a bundle do better than what is logged? Asked of the log, before any user sees it."""

from collections.abc import Set
from dataclasses import asdict
from datetime import datetime
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.threads import default_threads

if TYPE_CHECKING:
    from jobs.counterfactual.exposures import Exposed
    from rewrite import Rewriter

JUDGED_BY = "dr"
"""The estimator that decides; the others are shown beside it."""

LEAST_USERS = 30.0


def offpolicy(
    mined: Annotated[
        Path, typer.Argument(help="Run directory of `reprise mine`, from logs with exposures; the bundle's own.")
    ],
    bundle: Annotated[Path, typer.Option(help="The bundle to judge, on the days that it held back.")],
    champion: Annotated[
        Path | None,
        typer.Option(help="The bundle to compare it with, as if both had the same evidence; else what served."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the numbers here.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads for the model.")] = default_threads(),
) -> None:
    """Estimate a bundle's gain over what is logged: IPS, SNIPS, direct method, doubly robust, clipped; with support."""
    import torch

    torch.set_num_threads(threads)
    result = judge_bundle(mined, bundle, champion)
    print_result(result)
    if json is not None:
        json.write_text(dumps(result, indent=1) + "\n")


def judge_bundle(
    mined: Path, bundle: Path, champion: Path | None = None, without: Set[str] = frozenset()
) -> dict[str, Any]:
    """`judge` on the held-back days of the run that the bundle was learned from, and as `champion` the same against the
    champion, on days that it has not seen either; None where there are none, or no champion.

    A bundle knows how the turns that it learned from ended: on those it would always seem to gain. So both decide with
    what was known before the held-back days, the bundle by trees that have not seen the user.

    Raises:
        NothingExposed: Reprise was not asked on the held-back days.
    """
    from jobs.counterfactual.exposures import read_exposed
    from jobs.hindsight import in_hindsight, with_evidence_of
    from jobs.learn import History
    from rewrite.bundle import verify

    history = History.read(mined)
    exposed = read_exposed(mined, history.since, without)
    challenger = in_hindsight(history, bundle)
    found = {**judge(exposed, challenger), "champion": None}
    if champion is not None:
        late = exposed.after(datetime.fromisoformat(verify(champion)["data_window"]["last"]))
        if late.turns:
            found["champion"] = judge(late, challenger, with_evidence_of(challenger.scorer, champion))
    return found


def judge(exposed: "Exposed", challenger: "Rewriter", champion: "Rewriter | None" = None) -> dict[str, Any]:
    """Values, gains and support on these turns, as plain values.

    Args:
        champion: what the challenger is compared with; None for what served.
    """
    from jobs.counterfactual.estimators import estimate, gain, support
    from jobs.counterfactual.exposures import policies

    logged = exposed.logged()
    asked = policies(exposed, challenger, champion)
    values, nothing = estimate(logged, asked.challenger), estimate(logged, asked.nothing)
    gains = gain(values, estimate(logged, asked.champion), logged.user_row)
    over_nothing = gain(values, nothing, logged.user_row)
    supported = support(logged, asked.challenger, asked.could)
    return {
        "turns": len(logged.reward),
        "logged_value": _plain(float(logged.reward.mean())),
        "values": {name: _interval(found.interval(logged.user_row)) for name, found in values.items()},
        "gains": {name: _interval(found) for name, found in gains.items()},
        "over_nothing": {name: _interval(found) for name, found in over_nothing.items()},
        "support": {name: _plain(value) for name, value in asdict(supported).items()},
        "enough_users": supported.effective_users >= LEAST_USERS,
        "enough_held_out": exposed.users_held_out >= LEAST_USERS,
    }


def _interval(found: Any) -> dict[str, float | None]:
    return {name: _plain(getattr(found, name)) for name in ("value", "low", "high")}


def _plain(value: float) -> float | None:
    from math import isfinite

    return round(float(value), 6) if isfinite(value) else None


def print_result(result: dict[str, Any]) -> None:
    """Print values and gains by estimator, then what supports them."""
    typer.echo(f"{result['turns']} turns with a known propensity; success of what was logged {result['logged_value']}")
    for name, value in result["values"].items():
        typer.echo(f"{name:14s} success {_shown(value)}  gain {_shown(result['gains'][name], sign=True)}")
    for name in (JUDGED_BY, "snips"):
        typer.echo(f"{name:14s} gain over leaving every turn alone {_shown(result['over_nothing'][name], sign=True)}")
    s = result["support"]
    typer.echo(
        f"supported {s['supported']:.1%} of what there was to decide, mean weight {s['mean_weight']:.3f} (1 where all "
        f"is supported), effective sample size {s['effective_sample_size']:.0f} turns, {s['effective_users']:.0f} users"
    )
    late = result["champion"]
    if late is not None:
        typer.echo(f"{late['turns']} turns since the champion was learned, both with the evidence of before:")
        for name in late["gains"]:
            typer.echo(f"{name:14s} gain over the champion {_shown(late['gains'][name], sign=True)}")
    typer.echo(_verdict(result))


def _verdict(result: dict[str, Any]) -> str:
    from jobs.pipeline.checks import Limits, offpolicy_gates
    from jobs.pipeline.gate import failing

    gates = offpolicy_gates(result, prove=False, least=Limits().supported)
    why = [f"{gate.name} {gate.verdict}" for gate in gates if gate.verdict != "pass"]
    return f"{'no release' if failing(gates) else 'release'}{': ' if why else ''}{', '.join(why)}"


def _shown(interval: dict[str, float | None], sign: bool = False) -> str:
    form = "{:+.4f}" if sign else "{:.4f}"
    parts = ["-" if interval[n] is None else form.format(interval[n]) for n in ("value", "low", "high")]
    return f"{parts[0]} [{parts[1]}, {parts[2]}]"
