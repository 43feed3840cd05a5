"""The `reprise` command: one sub-command per job, settings from flags, REPRISE_* variables and reprise.toml.

Job modules import nothing heavy at import, so that `reprise --help` answers at once.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs import (
    ab,
    bench,
    bundles,
    config,
    evaluate,
    explain,
    faults,
    import_ubi,
    learn,
    mine,
    nlu,
    offpolicy,
    retrain,
    rewrite,
    run,
    run_demo,
    select,
    serve,
    simulate,
    simulate_loop,
)

app = typer.Typer(name="reprise", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("demo")(run_demo.demo)
app.command("mine")(mine.mine)
app.command("import-ubi")(import_ubi.import_ubi)
app.command("learn")(learn.learn)
app.command("rewrite")(rewrite.rewrite)
app.command("evaluate")(evaluate.evaluate)
app.command("explain")(explain.explain)
app.command("simulate")(simulate.simulate)
app.command("simulate-loop")(simulate_loop.simulate_loop)
app.command("run")(run.run)
app.add_typer(bundles.app, name="bundles")
app.add_typer(ab.app, name="experiment")
app.command("offpolicy")(offpolicy.offpolicy)
app.add_typer(nlu.app, name="nlu")
app.command("select")(select.select)
app.command("retrain")(retrain.retrain)
app.command("serve")(serve.serve)
app.command("serve-key")(serve.serve_key)
app.command("forget")(serve.forget)
app.command("block")(serve.block)
app.command("pin")(serve.pin)
app.command("rollback")(bundles.rollback)
app.add_typer(config.app, name="config")
app.add_typer(bench.app, name="bench")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"reprise {version('reprise')}")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    config_file: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", envvar="REPRISE_CONFIG", help="Settings file; else ./reprise.toml."),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(envvar="REPRISE_LOG_LEVEL", help="debug, info, warning or error (default warning).")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks (anywhere on the line).")] = False,
) -> None:
    """Learn from being asked twice: mine reformulations, rewrite the next failing request, check it, repeat."""
    from jobs import logs

    ctx.with_resource(_telling_of_interrupts(ctx.invoked_subcommand or ""))
    settings = config.load(config_file, ctx.command)
    logs.configure(log_level or settings.pop("log_level", None) or "warning")
    ctx.default_map = settings


_INTERRUPTED = {
    "mine": "nothing was written; the same command begins anew",
    "learn": "no bundle was written; the same command goes on from the training's last checkpoint, if it has one",
    "run": "the same command goes on after the last step that ended",
    "rewrite": "nothing was written; the same command begins anew",
}
"""What became of a command's work, where that is always the same."""


@contextmanager
def _telling_of_interrupts(name: str) -> Iterator[None]:
    """Say in one line that command `name` was interrupted, and what calling it again does."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("; ".join(filter(None, ["interrupted", _INTERRUPTED.get(name)])), err=True)
        raise


def command() -> Any:
    """The whole command tree, as the parser sees it."""
    root: Any = typer.main.get_command(app)
    for parameter in root.params:
        # containers like to set REPRISE_VERSION to a number: it must not mean --version
        parameter.allow_from_autoenv = parameter.name != "version"
    return root


def main(args: list[str] | None = None) -> None:
    """Run the command line; the exit codes are those of `faults.guarded`, or 130 where it was interrupted."""
    args = list(sys.argv[1:] if args is None else args)
    debug = faults.take_debug(args)
    faults.guarded(lambda: command()(args, prog_name="reprise", auto_envvar_prefix="REPRISE"), debug)
