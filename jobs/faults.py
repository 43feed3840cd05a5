"""Errors as one line on stderr and an exit code, alike for `reprise` and for jobs that are called by themselves."""

import errno
import os
import sys
from collections.abc import Callable
from typing import Any

import typer


def run_alone(job: Callable[..., None]) -> None:
    """Run a job that is no command of `reprise`: `python -m jobs.NAME`."""
    args = sys.argv[1:]
    debug = take_debug(args)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(job)
    guarded(lambda: app(args), debug)


def guarded(call: Callable[[], Any], debug: bool) -> None:
    """Make a call; an error becomes one line, or with `debug` stays what it is.

    Exit codes: 0 done, 1 a fault of ours, 2 the user's input or settings.
    """
    try:
        call()
    except Exception as error:
        if debug:
            raise
        _explain(error)
        sys.exit(2 if isinstance(error, ValueError | OSError) else 1)


def take_debug(args: list[str]) -> bool:
    """Remove `--debug` wherever it stands before a bare `--`; also true where REPRISE_DEBUG is set."""
    end = args.index("--") if "--" in args else len(args)
    kept = [a for a in args[:end] if a != "--debug"]
    found = len(kept) < end
    args[:end] = kept
    return found or os.environ.get("REPRISE_DEBUG", "") not in ("", "0", "false")


def _explain(error: Exception) -> None:
    if isinstance(error, ValueError | OSError):
        typer.echo(f"error: {_sentence(error)}", err=True)
    else:
        typer.echo(f"error: {type(error).__name__}: {_sentence(error)}; run with --debug for the traceback", err=True)


_CAUSES = {
    errno.ENOENT: "expected a file or folder that exists; a typing slip?",
    errno.ENOTDIR: "expected a folder; is a file in its place, or above it?",
    errno.EEXIST: "expected a folder, or a name that is free; is a file in its place?",
    errno.EISDIR: "expected a file, and this is a folder",
    errno.EACCES: "expected one that this user may read and write",
    errno.ENOSPC: "is the disk full?",
}
"""What was expected where the operating system names no more than a file."""


def _sentence(error: Any) -> str:
    """One line of text; the operating system's errors name their file."""
    if isinstance(error, OSError) and error.strerror:
        if not error.filename:
            return error.strerror
        return "; ".join(filter(None, [error.strerror, f"got {error.filename}", _CAUSES.get(error.errno or 0)]))
    return " ".join(str(error).split()) or type(error).__name__
