"""The `reprise` command: one sub-command per job, settings from flags, REPRISE_* variables and reprise.toml.

Job modules import nothing heavy at import, so that `reprise --help` answers at once.
"""

import os
import sys

import typer

from jobs import mine

app = typer.Typer(name="reprise", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("mine")(mine.mine)


@app.callback()
def _root() -> None:
    """Learn from being asked twice: mine reformulations, rewrite the next failing request, check it, repeat."""


def main() -> None:
    """Run the command line; user errors become one message on stderr and exit code 2."""
    try:
        app(auto_envvar_prefix="REPRISE")
    except (ValueError, OSError) as error:
        if os.environ.get("REPRISE_DEBUG") or "--debug" in sys.argv:
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
