"""`reprise bundles`: what is in the registry, what changed, and moving the aliases."""

from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rewrite.registry import Registry

app = typer.Typer(no_args_is_help=True, help="List, compare, promote and roll back bundles.")

Root = Annotated[
    Path, typer.Option("--registry", help="Folder of bundles, as `reprise run` and `reprise serve` use it.")
]
By = Annotated[str, typer.Option(help="Who does it, for the history.")]
Reason = Annotated[str, typer.Option(help="Why, for the history.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def _group() -> None:
    """List, compare, promote and roll back bundles."""


@app.command("list")
def list_bundles(registry: Root, json: Json = False) -> None:
    """Every bundle, the newest last, with its aliases and figures."""
    rows = [_row(folder, names) for folder, names in _bundles(open_registry(registry))]
    if json:
        typer.echo(dumps(rows, indent=1))
        return
    if not rows:
        typer.echo(f"no bundle in {registry} yet; `reprise run` publishes one")
    for row in rows:
        rate, harm = (row["figures"].get(name) for name in ("right_of_known", "harm"))
        figures = "" if rate is None else f"  right {rate:.3f}  harm {harm:.4f}"
        window = f"{row['window'].get('first', '')[:10]} to {row['window'].get('last', '')[:10]}"
        typer.echo(f"{row['bundle']}  {window}{figures}  {' '.join(row['aliases'])}".rstrip())


@app.command("diff")
def diff(
    one: Annotated[str, typer.Argument(help="Alias, id, or beginning of an id.")],
    other: Annotated[str, typer.Argument(help="What it is compared with.")],
    registry: Root,
    json: Json = False,
    shown: Annotated[int, typer.Option(min=0, help="Pairs and texts printed of each kind.")] = 10,
) -> None:
    """What the second bundle has that the first has not, and the other way round: figures, pairs, texts."""
    opened = open_registry(registry)
    found = compare(opened.path(one), opened.path(other))
    if json:
        typer.echo(dumps(found, indent=1, ensure_ascii=False))
        return
    for name, (before, after) in found["figures"].items():
        typer.echo(f"{name}: {_number(before)} → {_number(after)}")
    for kind in ("pairs_added", "pairs_removed", "texts_added", "texts_removed"):
        typer.echo(f"{kind.replace('_', ' ')}: {len(found[kind])}")
        for entry in found[kind][:shown]:
            typer.echo(f"  {entry!r}" if isinstance(entry, str) else f"  {entry[0]!r} → {entry[1]!r}")


@app.command("promote")
def promote(
    name: Annotated[str, typer.Argument(help="Alias, id, or beginning of an id.")],
    registry: Root,
    reason: Reason = "",
    by: By = "",
) -> None:
    """Make a bundle the champion; the champion becomes the previous one."""
    typer.echo(f"champion: {open_registry(registry).promote(name, by=by or _user(), reason=reason)}")


@app.command("rollback")
def rollback(registry: Root, reason: Reason = "", by: By = "") -> None:
    """Go back to the previous champion at once."""
    typer.echo(f"champion: {open_registry(registry).rollback(by=by or _user(), reason=reason)}")


@app.command("lineage")
def lineage(
    source: Annotated[str, typer.Argument(help="What was heard.")],
    target: Annotated[str, typer.Argument(help="What it was rewritten to.")],
    registry: Root,
    bundle: Annotated[str, typer.Option(help="Alias, id, or beginning of an id.")] = "champion",
) -> None:
    """From a rewrite back to the run, the mined pair and the interactions behind it, as JSON."""
    traced = trace(open_registry(registry), bundle, source, target)
    typer.echo(dumps(traced, indent=1, ensure_ascii=False, default=str))


def compare(one: Path, other: Path) -> dict[str, Any]:
    """Figures of both, and the pairs and texts that only one of them has."""
    figures = [_manifest(folder).get("figures", {}) for folder in (one, other)]
    pairs, texts = ([_texts(folder, names) for folder in (one, other)] for names in (("source", "target"), ("text",)))
    return {
        "one": one.name,
        "other": other.name,
        "figures": {name: [f.get(name) for f in figures] for name in sorted(figures[0].keys() | figures[1].keys())},
        "pairs_added": sorted(pairs[1] - pairs[0]),
        "pairs_removed": sorted(pairs[0] - pairs[1]),
        "texts_added": sorted(text for (text,) in texts[1] - texts[0]),
        "texts_removed": sorted(text for (text,) in texts[0] - texts[1]),
    }


def trace(registry: "Registry", bundle: str, source: str, target: str) -> dict[str, Any]:
    """Where a rewrite comes from.

    Raises:
        ValueError: no such bundle, or it has no such pair.
    """
    import pyarrow.parquet as pq

    from rewrite.text import normalise

    folder = registry.path(bundle)
    manifest = _manifest(folder)
    wanted = [("source", "=", normalise(source)), ("target", "=", normalise(target))]
    pairs = pq.read_table(folder / "global" / "rewrites.parquet", filters=wanted).to_pylist()
    if not pairs:
        raise ValueError(
            f"bundle {folder.name} has no mined pair {source!r} → {target!r}; it may be personal, or proposed by "
            "search or neighbours: see `reprise explain`"
        )
    mined = registry.root / "steps" / str(manifest.get("mine")) / "mined"
    evidence = pq.read_table(mined / "reformulations", filters=wanted).to_pylist() if mined.exists() else []
    return {
        "bundle": folder.name,
        "parents": manifest["parents"],
        "run": manifest.get("run"),
        "mine": manifest.get("mine"),
        "inputs": _inputs(mined),
        "pair": pairs[0],
        "reformulations": evidence,
        "interactions": sorted({i for row in evidence for example in row["examples"] for i in example.split(">")}),
    }


def _inputs(mined: Path) -> list[str]:
    if not (mined / "manifest.json").is_file():
        return []
    return [entry["path"] for entry in _manifest(mined)["inputs"]]


def _texts(folder: Path, columns: tuple[str, ...]) -> set[tuple[str, ...]]:
    import pyarrow.parquet as pq

    name = "rewrites" if "source" in columns else "utterances"
    table = pq.read_table(folder / "global" / f"{name}.parquet", columns=list(columns))
    return set(zip(*(table[column].to_pylist() for column in columns), strict=True))


def open_registry(root: Path) -> "Registry":
    """The registry at `root`.

    Raises:
        FileNotFoundError: there is none. ValueError: something else is there.
    """
    from rewrite.registry import Registry

    check_registry(root)
    if not root.is_dir():
        raise FileNotFoundError(f"no registry; got {root}; expected the folder given to `reprise run`; a typing slip?")
    return Registry(root)


def check_registry(root: Path) -> None:
    """Refuse what can never become a registry, where one that is not there yet is no error.

    Raises:
        ValueError: a file, or the folder of something else.
    """
    if root.is_file():
        raise ValueError(
            f"--registry is a file; got {root}; expected a folder, as `reprise run` makes it; a typing slip?"
        )
    if (root / "manifest.json").is_file():
        what = "a run of `reprise mine`" if (root / "_SUCCESS").is_file() else "a single bundle, which goes by --bundle"
        raise ValueError(f"--registry is no registry; got {root}, {what}; expected the folder given to `reprise run`")


def _bundles(registry: "Registry") -> list[tuple[Path, list[str]]]:
    aliases = registry.aliases()
    return [
        (registry.path(name), sorted(alias for alias, of in aliases.items() if of == name))
        for name in registry.bundles()
    ]


def _row(folder: Path, aliases: list[str]) -> dict[str, Any]:
    manifest = _manifest(folder)
    kept = {"run": manifest.get("run"), "parents": manifest.get("parents", [])}
    return {
        "bundle": folder.name,
        "aliases": aliases,
        "window": manifest.get("data_window", {}),
        "figures": manifest.get("figures", {}),
        **kept,
    }


def _manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return found


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
