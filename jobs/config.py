"""Settings of every command: flag, then REPRISE_* variable, then TOML file, then default; and where each came from."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer

DEFAULT_FILE = Path("reprise.toml")
"""Read from the current folder where `--config` names no other file."""

ROOT_KEYS = ("log_level",)
"""Keys that may stand at the top of the file, outside every command's table."""

app = typer.Typer(no_args_is_help=True, help="Show the settings in force and where each comes from.")


@dataclass(frozen=True)
class Setting:
    """One option of one command, its value in force, and who set it."""

    command: str
    key: str
    value: Any
    origin: str
    variable: str


def load(path: Path | None, root: Any) -> dict[str, Any]:
    """Read a settings file as the nested defaults of `root`, the top command.

    `path` None reads `reprise.toml` of the current folder, or nothing where there is none.

    Raises:
        FileNotFoundError: a file was named and is missing. ValueError: not TOML, a key that no command has, or a value
        that its key cannot have.
    """
    if path is None and not DEFAULT_FILE.is_file():
        return {}
    path = path or DEFAULT_FILE
    if not path.is_file():
        raise FileNotFoundError(f"no settings file; got {path}; expected a TOML file; is the path of --config right?")
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"cannot read settings; got {path}: {error}; expected TOML; an unquoted text or path?"
        ) from error
    return _known(settings, root, (), path)


def _known(settings: Mapping[str, Any], command: Any, table: tuple[str, ...], path: Path) -> dict[str, Any]:
    """`settings` with its keys as parameter names, every one of them checked against `command`."""
    names = _names(command) if table else {**{key: key for key in ROOT_KEYS}, **_names(command)}
    known: dict[str, Any] = {}
    for key, value in settings.items():
        name = names.get(key.replace("-", "_"))
        if name is None:
            raise ValueError(_unknown(key, sorted(set(names.values())), table, path))
        child = getattr(command, "commands", {}).get(name)
        if (child is not None) != isinstance(value, Mapping):
            raise ValueError(_misplaced(key, value, table, path, is_command=child is not None))
        known[name] = _known(value, child, (*table, name), path) if child is not None else value
        if child is None and table:
            _check(value, command, name, f"{path}: [{'.'.join(table)}] {key} = {value!r}")
    return known


def _check(value: Any, command: Any, name: str, what: str) -> None:
    """Raise ValueError where `value` is none for parameter `name` of `command`; `what` says whose it is."""
    parameter = next(p for p in command.params if p.name == name)
    try:
        parameter.process_value(command.context_class(command), value)
    except typer.BadParameter as error:
        option = next((flag for flag in parameter.opts if flag.startswith("--")), name)
        raise ValueError(f"{what} is no value for {option!r}: {' '.join(error.message.split())}") from error


def _names(command: Any) -> dict[str, str]:
    """Key as it may be written (underscores) to sub-command or parameter name."""
    children = getattr(command, "commands", {})
    if children:
        return {name.replace("-", "_"): name for name in children}
    return {p.name: p.name for p in command.params if p.name != "help"}


def _unknown(key: str, names: list[str], table: tuple[str, ...], path: Path) -> str:
    near = difflib.get_close_matches(key.replace("-", "_"), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(names)}"
    where = f"table [{'.'.join(table)}]" if table else "the top level"
    return f"unknown key in {path}; got {key!r} in {where}; expected a command's setting; {hint}"


def _misplaced(key: str, value: Any, table: tuple[str, ...], path: Path, *, is_command: bool) -> str:
    if is_command:
        return (
            f"a setting without its key in {path}; got {key} = {value!r}; expected a table [{'.'.join((*table, key))}]"
        )
    got = f"[{'.'.join((*table, key))}]"
    return f"a table where a value belongs in {path}; got {got}; expected {key} = …; a command misspelt?"


def settings_in_force(ctx: typer.Context) -> list[Setting]:
    """Every setting of every command as it would be with no flag given, in the order of `--help`."""
    root = ctx.find_root()
    return list(_settings(root.command, root, ()))


def _settings(command: Any, ctx: Any, names: tuple[str, ...]) -> Iterator[Setting]:
    for name, child in getattr(command, "commands", {}).items():
        path = (*names, name)
        if path[0] == "config":
            continue
        # resilient_parsing: required arguments may be missing, nothing is called, sources are still recorded
        child_ctx = child.make_context(name, [], parent=ctx, resilient_parsing=True)
        if hasattr(child, "commands"):
            yield from _settings(child, child_ctx, path)
        else:
            yield from (_setting(p, child_ctx, path) for p in child.params if p.name != "help")


def _setting(parameter: Any, ctx: Any, names: tuple[str, ...]) -> Setting:
    source = ctx.get_parameter_source(parameter.name)
    variable = f"{ctx.auto_envvar_prefix}_{parameter.name.upper()}" if ctx.auto_envvar_prefix else ""
    origin = _origin(getattr(source, "name", ""), variable, ctx)
    if origin.startswith("environment"):  # what cannot be converted is not in the context
        value = parameter.resolve_envvar_value(ctx)
        _check(parameter.value_from_envvar(ctx), ctx.command, parameter.name, f"{variable}={value!r}")
    return Setting(" ".join(names), parameter.name, ctx.params.get(parameter.name), origin, variable)


def _origin(source: str, variable: str, ctx: Any) -> str:
    if source == "ENVIRONMENT":
        return f"environment {variable}"
    if source == "DEFAULT_MAP":
        return f"file {ctx.find_root().params.get('config_file') or DEFAULT_FILE}"
    return "default"


@app.callback()
def _group() -> None:
    """Show the settings in force and where each comes from."""


@app.command("show")
def show(
    ctx: typer.Context,
    command: Annotated[str | None, typer.Argument(help="Only this command's settings, e.g. `mine`.")] = None,
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value came from.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print every command's settings; with --origin also where each value came from."""
    settings = [s for s in settings_in_force(ctx) if command is None or s.command == command]
    if not settings:
        known = sorted({s.command for s in settings_in_force(ctx)})
        raise ValueError(f"no such command; got {command!r}; expected one of {', '.join(known)}; a typing slip?")
    if json:
        typer.echo(dumps([asdict(s) for s in settings], default=str, indent=1))
        return
    _print(settings, origin)


def _print(settings: list[Setting], origin: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("command", "setting", "value", *(["origin", "variable"] if origin else []), box=None)
    for s in settings:
        value = "" if s.value is None else str(s.value)
        table.add_row(s.command, s.key, value, *([s.origin, s.variable] if origin else []))
    Console(width=None if Console().is_terminal else 200).print(table, markup=False)
