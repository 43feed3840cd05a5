"""The registry: whole bundles or none, aliases that always resolve, and nothing in use removed; also under kills."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rewrite.bundle import BundleError, pack, verify
from rewrite.disk import append_line, read_lines, replace_text
from rewrite.registry import Registry, RegistryError

KILLED = 9
VICTIM = """
import os, sys
from pathlib import Path
import rewrite.disk
from rewrite.registry import Registry

left = int(sys.argv[1])

def dying(call):
    def counted(*args, **kwargs):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return call(*args, **kwargs)
    return counted

for name in ("fsync", "write", "rename", "replace", "unlink", "mkdir", "rmdir"):
    setattr(os, name, dying(getattr(os, name)))
registry = Registry(Path(sys.argv[2]))
exec(sys.argv[3])
"""
"""A process that dies just before its n-th change to the disk."""


def make(folder: Path, text: str) -> Path:
    pack(folder, lambda part: (part / "text.txt").write_text(text) and None, {"parents": []})
    return folder


def idof(folder: Path) -> str:
    return str(verify(folder)["id"])


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return make(tmp_path / "one", "first")


@pytest.fixture
def two(tmp_path: Path) -> Path:
    return make(tmp_path / "two", "second")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "reg")


def killed_everywhere(root: Path, action: str, check: object, most: int = 60) -> int:
    """Run `action` in processes that die later and later, calling `check` after each; returns the deaths."""
    for n in range(most):
        done = subprocess.run([sys.executable, "-c", VICTIM, str(n), str(root), action], check=False)
        check()  # type: ignore[operator]
        if done.returncode != KILLED:
            assert done.returncode == 0
            return n
    raise AssertionError(f"{action} never ended within {most} changes to the disk")


def test_a_published_bundle_is_found_by_id_prefix_and_alias(registry: Registry, one: Path) -> None:
    name = registry.publish(one)
    registry.promote(name[:6])
    assert registry.path(name) == registry.path(name[:5]) == registry.path("champion")
    assert verify(registry.path("champion"))["id"] == name


def test_publishing_twice_is_publishing_once(registry: Registry, one: Path) -> None:
    assert registry.publish(one) == registry.publish(one)
    assert [e["event"] for e in registry.history()] == ["publish"]


def test_a_damaged_bundle_is_neither_published_nor_promoted(registry: Registry, one: Path, two: Path) -> None:
    name = registry.publish(one)
    (registry.path(name) / "text.txt").write_text("other")
    (two / "text.txt").write_text("other")
    with pytest.raises(BundleError):
        registry.promote(name)
    with pytest.raises(BundleError):
        registry.publish(two)
    assert registry.aliases() == {}
    assert registry.bundles() == [name]


def test_promoting_keeps_the_old_champion_as_previous_and_frees_the_challenger(
    registry: Registry, one: Path, two: Path
) -> None:
    first, second = registry.publish(one), registry.publish(two)
    registry.promote(first)
    registry.point("challenger", second)
    registry.promote(second)
    assert registry.aliases() == {"champion": second, "previous": first}


def test_promoting_the_champion_again_does_not_lose_the_previous_one(registry: Registry, one: Path, two: Path) -> None:
    for folder in (one, two):
        registry.promote(registry.publish(folder))
    registry.promote(idof(two))
    assert registry.resolve("previous") == idof(one)


def test_rolling_back_twice_returns_to_where_it_was(registry: Registry, one: Path, two: Path) -> None:
    for folder in (one, two):
        registry.promote(registry.publish(folder))
    assert registry.rollback(by="me", reason="worse") == idof(one)
    assert registry.aliases() == {"champion": idof(one), "previous": idof(two)}
    assert registry.history()[-1]["reason"] == "worse"
    assert registry.rollback() == idof(two)


def test_a_rollback_takes_less_than_a_second(registry: Registry, one: Path, two: Path) -> None:
    for folder in (one, two):
        registry.promote(registry.publish(folder))
    started = time.monotonic()
    registry.rollback()
    assert time.monotonic() - started < 1


def test_without_a_previous_champion_rolling_back_says_so(registry: Registry, one: Path) -> None:
    registry.promote(registry.publish(one))
    with pytest.raises(RegistryError, match="nothing to roll back to"):
        registry.rollback()
    with pytest.raises(RegistryError, match="nothing to roll back to"):
        Registry(registry.root / "empty").rollback()


@pytest.mark.parametrize("name", ["champion", "0123", ""])
def test_an_unknown_name_is_an_error_that_says_where_to_look(name: str, registry: Registry) -> None:
    with pytest.raises(RegistryError, match=r"not set|bundles list"):
        registry.path(name)


def test_an_unknown_alias_is_refused(registry: Registry, one: Path) -> None:
    with pytest.raises(RegistryError, match="challenger"):
        registry.point("canary", registry.publish(one))


def test_killed_while_publishing_a_bundle_is_whole_or_absent(registry: Registry, one: Path) -> None:
    def whole_or_absent() -> None:
        for name in registry.bundles():
            verify(registry.path(name))

    deaths = killed_everywhere(registry.root, f"registry.publish(Path({str(one)!r}))", whole_or_absent)
    assert deaths > 5
    assert registry.bundles() == [idof(one)]
    assert [e["event"] for e in registry.history()] == ["publish"]
    assert registry.retire(9) == []
    assert [p.name for p in (registry.root / "bundles").iterdir()] == [idof(one)]


def test_killed_while_promoting_the_champion_is_the_old_one_or_the_new(
    registry: Registry, one: Path, two: Path
) -> None:
    registry.promote(registry.publish(one))
    new = registry.publish(two)
    seen = set()

    def valid() -> None:
        champion = registry.resolve("champion")
        seen.add(champion)
        assert registry.path("champion").name == champion

    killed_everywhere(registry.root, f"registry.promote({new!r})", valid)
    assert seen == {idof(one), new}
    assert registry.aliases() == {"champion": new, "previous": idof(one)}


def test_killed_while_rolling_back_the_champion_is_one_of_the_two(registry: Registry, one: Path, two: Path) -> None:
    for folder in (one, two):
        registry.promote(registry.publish(folder))
    both = {idof(one), idof(two)}

    def valid() -> None:
        assert registry.resolve("champion") in both
        registry.promote(idof(two))
        registry.point("previous", idof(one))

    killed_everywhere(registry.root, "registry.rollback()", valid)


def test_retiring_keeps_aliases_held_bundles_and_the_newest(registry: Registry, tmp_path: Path) -> None:
    names = [registry.publish(make(tmp_path / f"b{n}", f"text {n}")) for n in range(6)]
    registry.promote(names[0])
    with registry.hold(names[1]):
        assert registry.retire(2) == names[2:5]
        assert registry.bundles() == [names[0], names[1], names[5]]
    assert registry.retire(2) == [names[1]]


def test_a_bundle_held_by_another_process_is_not_retired(registry: Registry, one: Path, two: Path) -> None:
    first = registry.publish(one)
    registry.publish(two)
    script = (
        "import sys; from pathlib import Path; from rewrite.registry import Registry\n"
        f"with Registry(Path({str(registry.root)!r})).hold({first!r}): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert registry.retire(1) == []
        holder.kill()
    assert registry.retire(1) == [first]


def test_killed_while_retiring_no_half_bundle_is_listed(registry: Registry, one: Path, two: Path) -> None:
    registry.publish(one)
    registry.publish(two)

    def whole() -> None:
        for name in registry.bundles():
            verify(registry.path(name))

    killed_everywhere(registry.root, "registry.retire(1)", whole)
    assert registry.bundles() == [idof(two)]
    assert not list((registry.root / "bundles").glob(".*"))


def test_a_torn_line_loses_itself_only(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    append_line(log, {"n": 1})
    with log.open("a") as file:
        file.write('{"n": 2, "te')
    append_line(log, {"n": 3, "text": "a\nb\u2028c"})
    assert [line["n"] for line in read_lines(log)] == [1, 3]
    assert list(read_lines(tmp_path / "none")) == []


def test_replacing_a_file_that_fails_leaves_the_old_one_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a"
    replace_text(path, "old\n")
    with pytest.raises(UnicodeEncodeError):
        replace_text(path, "\ud800")
    assert path.read_text() == "old\n"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_history_is_json_that_a_person_can_read(registry: Registry, one: Path) -> None:
    registry.promote(registry.publish(one, by="nightly"), by="ann", reason="gates passed")
    lines = (registry.root / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["by"] for line in lines] == ["nightly", "ann"]
