"""`reprise serve`, and the levers on a service's state: keys, forgetting, blocking."""

from pathlib import Path
from typing import Annotated

import typer

State = Annotated[Path, typer.Option(help="Folder of the service's tombstone log and exposure log.")]
DEFAULT_STATE = Path("serve-state")


def serve(
    registry: Annotated[Path | None, typer.Option(help="Registry whose champion is served and followed.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="A single bundle to serve instead.")] = None,
    state: State = DEFAULT_STATE,
    host: Annotated[str, typer.Option(help="Address; other than this machine's own needs --keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8080,
    keys: Annotated[Path | None, typer.Option(help="File of hashed keys; `reprise serve-key` adds to it.")] = None,
    holdout: Annotated[float, typer.Option(min=0, max=1, help="Share of users that are never rewritten.")] = 0.02,
    holdout_salt: Annotated[str, typer.Option(help="Another salt holds out other users.")] = "reprise",
    deadline_ms: Annotated[float, typer.Option(min=1, help="Of requests that name none.")] = 250.0,
    model_wait_ms: Annotated[
        float, typer.Option(min=0, help="For the generator; a turn that would wait longer does without. 0: no limit.")
    ] = 40.0,
    places: Annotated[int, typer.Option(min=1, help="Turns in the works at once; more are refused.")] = 64,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that decide; 0: the service's own; else one fewer than cores.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the model in each worker.")] = 1,
    model_batch: Annotated[int, typer.Option(min=1, help="Turns that share a forward, at most.")] = 8,
    precision: Annotated[str, typer.Option(help="Of the model's weights: fp32 or bf16.")] = "fp32",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    fsync_s: Annotated[float, typer.Option(min=0, help="How often exposures are forced to disk; 0 each time.")] = 1.0,
    grace_s: Annotated[float, typer.Option(min=0, help="From SIGTERM until no connection is taken.")] = 5.0,
    watch_s: Annotated[float, typer.Option(min=0.05, help="How often aliases and keys are looked at.")] = 1.0,
    trace: Annotated[bool, typer.Option("--trace", help="Send OpenTelemetry spans, if it is installed.")] = False,
) -> None:
    """Serve rewrites over HTTP."""
    from jobs.bundles import check_registry
    from rewrite.bundle import check_kind
    from serving.config import ServeConfig
    from serving.cores import cores
    from serving.page.routes import router
    from serving.server import run

    workers = max(1, cores() - 1) if workers is None else workers
    config = ServeConfig(
        registry=registry, bundle=bundle, state=state, host=host, port=port, keys=keys, holdout_share=holdout,
        holdout_salt=holdout_salt, deadline_ms=deadline_ms, model_wait_ms=model_wait_ms, places=places, workers=workers,
        threads=threads, model_batch=model_batch, precision=precision, device=device, fsync_s=fsync_s,
        grace_s=grace_s, watch_s=watch_s, trace=trace,
    )  # fmt: skip

    if bundle is not None and not bundle.is_dir():
        raise ValueError(f"no bundle; got {bundle}; expected a folder that `reprise learn` wrote; a typing slip?")
    if bundle is not None:
        check_kind(bundle)
        if not (bundle / "manifest.json").is_file():
            raise ValueError(
                f"no bundle; got {bundle} without manifest.json; expected a folder that `reprise learn` wrote"
            )
    if registry is not None:
        check_registry(registry)
    if registry is not None and not (registry / "bundles").is_dir():
        what = "holds no bundles, so is no registry yet" if registry.is_dir() else "no such registry yet"
        typer.echo(
            f"{registry}: {what}; every turn is left alone until it has a champion, which is then "
            f"served; `reprise run LOGS --registry {registry}` makes one",
            err=True,
        )

    def started(_: object, taken: int) -> None:
        typer.echo(f"listening on http://{host}:{taken} (API at /docs); SIGTERM drains", err=True)

    run(config, router, started)


def serve_key(
    keys: Annotated[Path, typer.Argument(help="File of hashed keys to add to; made if it is not there.")],
    role: Annotated[str, typer.Option(help="use (rewrites) or admin (levers).")] = "use",
    name: Annotated[str, typer.Option(help="What the key is called.")] = "default",
) -> None:
    """Make a key, print it once, and keep only its hash."""
    import os

    from serving.keys import new_key

    secret, line = new_key(role, name)
    descriptor = os.open(keys, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(line)
    typer.echo(secret)


def forget(
    user: Annotated[str, typer.Argument(help="User id, as in the logs.")],
    state: State = DEFAULT_STATE,
) -> None:
    """Forget a user: at once in the service that runs on this state, and for good at the next build."""
    from serving.exposures import scrub
    from serving.state import StateInUse, state_folder
    from serving.tombstones import TombstoneLog

    _check_state(state)
    epoch = TombstoneLog(state).forget(user)
    try:
        with state_folder(state):
            removed = scrub(state / "exposures", [user])
    except StateInUse:
        typer.echo(f"forgotten (epoch {epoch}); the running service removes the exposure records")
    else:
        typer.echo(f"forgotten (epoch {epoch}); {removed} exposure records removed")


def pin(
    source: Annotated[str, typer.Argument(help="Text as it is heard.")],
    target: Annotated[str | None, typer.Argument(help="What it is always rewritten to; none with --lift.")] = None,
    state: State = DEFAULT_STATE,
    lift: Annotated[bool, typer.Option("--lift", help="Leave it to the bundle again.")] = False,
) -> None:
    """Always make a rewrite, whatever the bundle would decide, as long as its target is in force for everybody."""
    from serving.tombstones import TombstoneLog

    if lift == (target is not None):
        raise ValueError("give a target, or --lift without one; got " + ("both" if lift else "neither"))
    _check_state(state)
    epoch = TombstoneLog(state).pin(source, target)
    acts = f"it acts while {target!r} is a text in force for everybody, which is not looked up here"
    typer.echo(f"no longer pinned (epoch {epoch})" if lift else f"pinned (epoch {epoch}); {acts}")


def block(
    text: Annotated[str, typer.Argument(help="Text that must not come out any more.")],
    state: State = DEFAULT_STATE,
    lift: Annotated[bool, typer.Option("--lift", help="Allow it again.")] = False,
) -> None:
    """Block a text: at once in the service that runs on this state, and for good at the next build."""
    from serving.tombstones import TombstoneLog

    _check_state(state)
    epoch = TombstoneLog(state).block(text, blocked=not lift)
    typer.echo(f"{'allowed again' if lift else 'blocked'} (epoch {epoch})")


def _check_state(state: Path) -> None:
    """An order that no service would ever read must not look like one that was carried out."""
    if not state.is_dir():
        raise ValueError(
            f"{state}: no such folder; expected the --state of a service. Make the folder if none has run yet"
        )
