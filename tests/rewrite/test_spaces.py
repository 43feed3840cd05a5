"""Each user's own texts in a bundle: as in memory, and nobody else's."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewrite import sequels
from rewrite.spaces import Knowledge, Own, OwnText, Pair, Personal, PersonalStore, write_knowledge, write_personal
from rewrite.turn import Reading
from tests.rewrite.world import SCHEMAS, table, tables_of, turn_rows

SEQUELS = pa.Table.from_pylist(
    [
        {"intent": "play", "users": 2},
        {"text": "clay", "users": 3},
        {"text": "clay", "intent": "play", "users": 2},
        {"text": "clay", "intent": "play", "slots": [], "users": 2},
    ],
    sequels.SCHEMA,
)
STORABLE = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0␟"), min_size=1, max_size=8)
READINGS = st.builds(
    Reading,
    st.none() | STORABLE,
    st.none() | STORABLE,
    st.frozensets(st.tuples(STORABLE, STORABLE), max_size=3),
)


@st.composite
def owns(draw: st.DrawFn) -> Own:
    texts = {
        text: OwnText(text, draw(READINGS), draw(st.integers(1, 9)), draw(st.integers(0, 2**33)), draw(RATES))
        for text in draw(st.lists(STORABLE, max_size=4, unique=True))
    }
    made = draw(st.lists(st.tuples(STORABLE, STORABLE), max_size=4, unique=True))
    pairs: dict[str, list[Pair]] = {}
    for source, target in sorted(made):
        pairs.setdefault(source, []).append(Pair(target, count=draw(st.integers(1, 9))))
    return Own(texts, pairs)


RATES = st.integers(0, 1000).map(lambda n: n / 1000)


def comparable(own: Own) -> tuple[dict[str, OwnText], dict[str, list[Pair]]]:
    pairs = {source: sorted(found, key=lambda p: p.target) for source, found in own.pairs.items()}
    return dict(own.texts), pairs


def stored(content: dict[str, Own], folder: Path, shards: int = 4) -> PersonalStore:
    write_personal(Personal(content), folder, shards)
    return PersonalStore(folder)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(STORABLE, owns(), max_size=5), st.integers(1, 5))
def test_the_store_gives_every_user_what_memory_gives(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Own], shards: int
) -> None:
    store = stored(content, tmp_path_factory.mktemp("personal"), shards)
    for user, own in content.items():
        assert comparable(store.of(user)) == comparable(own)


def one(text: str) -> Own:
    return Own({text: OwnText(text, Reading(), 1, 0, 1.0)}, {"asked": [Pair(text, count=2)]})


def test_a_user_sees_nothing_of_users_whose_ids_extend_theirs(tmp_path: Path) -> None:
    store = stored({"u1": one("mine"), "u11": one("theirs"), "u1 x": one("also theirs")}, tmp_path, shards=1)
    assert comparable(store.of("u1")) == comparable(one("mine"))
    assert comparable(store.of("u")) == ({}, {})


@pytest.mark.parametrize("user", [None, "nobody", "", "u1\0", "u1␟mine", "\0"])
def test_a_user_without_history_has_nothing(user: str | None, tmp_path: Path) -> None:
    content = {"u1": one("mine")}
    assert comparable(stored(content, tmp_path).of(user)) == ({}, {})
    assert comparable(Personal(content).of(user)) == ({}, {})


def test_an_id_that_is_no_valid_unicode_has_nothing(tmp_path: Path) -> None:
    assert comparable(stored({"u1": one("mine")}, tmp_path).of("u1\ud800")) == ({}, {})


def test_an_id_with_a_separator_puts_nothing_into_another_users_space(tmp_path: Path) -> None:
    store = stored({"u1␟asked": one("theirs"), "u1": one("mine")}, tmp_path, shards=1)
    assert comparable(store.of("u1")) == comparable(one("mine"))


def test_a_folder_without_shards_holds_nobody(tmp_path: Path) -> None:
    assert comparable(PersonalStore(tmp_path).of("u1")) == ({}, {})


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    content = {f"u{n}": one(f"text {n}") for n in range(20)}
    stored(content, tmp_path / "a")
    stored(dict(reversed(content.items())), tmp_path / "b")
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == [f"shard-{n:03d}.marisa" for n in range(4)]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_written_knowledge_is_read_back_whole(tmp_path: Path) -> None:
    tables = tables_of(turn_rows(users=8)) | {"sequels": SEQUELS}
    before, _ = Knowledge.from_tables(tables), write_knowledge(tables, tmp_path)
    after = Knowledge.load(tmp_path)
    assert after.known == before.known
    assert after.texts == before.texts == sorted(before.known)
    assert len(before.known) > 2
    assert after.look_up == before.look_up
    assert after.outcomes == before.outcomes
    reading = Reading(None, "play")
    assert after.sequels.evidence("clay", reading) == before.sequels.evidence("clay", reading)
    assert after.sequels.evidence("clay", reading)[:2] == (3, 2)
    assert isinstance(before.personal, Personal)
    for user in before.personal.users():
        assert comparable(after.personal.of(user)) == comparable(before.personal.of(user))
    assert before.personal.of("u00").pairs == {"ring my friend": [Pair("call friend 0", count=2)]}


def test_empty_tables_are_empty_knowledge(tmp_path: Path) -> None:
    tables: dict[str, pa.Table] = {name: table(name, []) for name in SCHEMAS}
    tables["sequels"] = sequels.SCHEMA.empty_table()
    write_knowledge(tables, tmp_path)
    knowledge = Knowledge.load(tmp_path)
    assert knowledge.texts == []
    assert comparable(knowledge.personal.of("u1")) == ({}, {})


def test_mined_pairs_come_with_the_surest_first() -> None:
    made = {"users": 5, "days": 2, "count": 9, "source_count": 9, "source_defect_rate": 0.9, "evidence_id": ""}
    rows = [
        {"source": "s", "target": target, "worth": worth, "lower_bound": lower, **made}
        for target, worth, lower in [("c", 0.9, 0.1), ("b", 0.5, 0.4), ("a", 0.6, 0.4), ("d", 0.6, 0.4)]
    ]
    tables = {name: table(name, []) for name in SCHEMAS} | {"rewrites": table("rewrites", rows)}
    assert [p.target for p in Knowledge.from_tables(tables).look_up["s"]] == ["a", "d", "b", "c"]
