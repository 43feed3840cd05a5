"""Who may import whom: the rooms stay apart, and opening a package loads nothing heavy."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("rewrite", "mining", "selection", "serving", "jobs")

OURS = {
    "rewrite": set(),
    "mining": {"rewrite.text"},
    "selection": {"rewrite.text"},
    "serving": {"rewrite", "mining.store"},
    "jobs": set(ROOMS),
}
"""Of our own modules, what a room may import besides itself; a room's name stands for all of it."""

BANNED = {
    "rewrite": {"pyspark", "typer", "fastapi", "captum", "rich"},
    "mining": {"torch", "transformers", "typer", "fastapi", "captum", "rich"},
    "selection": {"pyspark", "typer", "fastapi", "rich"},
    "serving": {"pyspark", "captum", "typer"},
    "jobs": set(),
}


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(source: str, package: str = "") -> Iterator[str]:
    """Every module that a file imports anywhere, as `module` and, for `from`, as `module.name` too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, (package if node.level else "", node.module)))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def trespasses(room: str, source: str) -> list[str]:
    """The imports of a file that its room is not allowed."""
    found = []
    for name in imported(source, room):
        top = name.split(".")[0]
        allowed = any(name == door or name.startswith(f"{door}.") for door in OURS[room] | {room})
        if top in BANNED[room] or (top in (*ROOMS, "tests") and not allowed):
            found.append(name)
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    assert {str(f.relative_to(ROOT)): bad for f in files(room) if (bad := trespasses(room, f.read_text()))} == {}


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("rewrite", "import mining.store"),
        ("rewrite", "from jobs.progress import track"),
        ("mining", "from rewrite.trie import TokenTrie"),
        ("mining", "from rewrite import trie"),
        ("selection", "def f():\n    from mining import schema"),
        ("serving", "import pyspark.sql"),
        ("jobs", "from tests.reference import scoring"),
    ],
)
def test_a_trespass_is_seen(room: str, line: str) -> None:
    assert trespasses(room, line)


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("mining", "from rewrite.text import normalise"),
        ("mining", "from rewrite import text"),
        ("serving", "from mining.store import open_store"),
        ("jobs", "from mining.schema import LOG"),
    ],
)
def test_an_open_door_is_open(room: str, line: str) -> None:
    assert trespasses(room, line) == []


def test_the_store_never_needs_spark() -> None:
    store = ROOT / "mining" / "store.py"
    names = list(imported(store.read_text())) if store.exists() else []
    assert [n for n in names if n.split(".")[0] == "pyspark"] == []


@pytest.mark.parametrize("leaf", ["text.py", "disk.py"])
def test_a_leaf_needs_the_standard_library_only(leaf: str) -> None:
    tops = {name.split(".")[0] for name in imported((ROOT / "rewrite" / leaf).read_text())}
    assert tops <= sys.stdlib_module_names


def test_the_registry_loads_nothing_heavy() -> None:
    """Listing and rolling back must not wait for a model to be imported."""
    heavy = ("torch", "transformers", "numpy", "pyarrow", "lightgbm")
    script = f"import sys, rewrite.registry; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_opening_a_package_loads_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "pyspark", "pandas", "numpy", "pyarrow", "fastapi", "captum")
    script = f"import sys, {', '.join(ROOMS)}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
