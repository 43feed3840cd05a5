"""The labels that a model knows: domains, intents, slot tags, and which domain goes with which intent."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from selection.examples import Utterance


@dataclass(frozen=True)
class Labels:
    """Names by position in each head's logits. `tags` begins with O; then B and I of every slot name."""

    domains: tuple[str, ...]
    intents: tuple[str, ...]
    slots: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, utterances: Iterable[Utterance]) -> "Labels":
        """Every label that occurs, sorted."""
        rows = list(utterances)
        return cls(
            tuple(sorted({u.domain for u in rows})),
            tuple(sorted({u.intent for u in rows})),
            tuple(sorted({name for u in rows for name, _ in u.slots})),
            tuple(sorted({(u.domain, u.intent) for u in rows})),
        )

    @cached_property
    def tags(self) -> tuple[str, ...]:
        return ("O", *(f"{kind}-{name}" for name in self.slots for kind in "BI"))

    @cached_property
    def domain_row(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.domains)}

    @cached_property
    def intent_row(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.intents)}

    @cached_property
    def tag_row(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.tags)}

    @cached_property
    def pair_rows(self) -> tuple[list[int], list[int]]:
        """Domain rows and intent rows of the pairs that occur together."""
        return [self.domain_row[d] for d, _ in self.pairs], [self.intent_row[i] for _, i in self.pairs]

    def knows(self, utterance: Utterance) -> bool:
        """Whether the model can say this reading at all; slots apart."""
        return utterance.domain in self.domain_row and utterance.intent in self.intent_row

    def unknown(self, utterances: Iterable[Utterance]) -> Counter[str]:
        """Labels of `utterances` that are not here, with their numbers of rows."""
        found: Counter[str] = Counter()
        for u in utterances:
            found.update([f"domain {u.domain}"] if u.domain not in self.domain_row else [])
            found.update([f"intent {u.intent}"] if u.intent not in self.intent_row else [])
            found.update(f"slot {name}" for name in {name for name, _ in u.slots} - set(self.slots))
        return found

    def check(self, utterances: Sequence[Utterance]) -> None:
        """Refuse rows that these labels cannot teach.

        Raises:
            ValueError: a row has a label that is not here, or a label here has no row.
        """
        if unknown := self.unknown(utterances):
            name, count = unknown.most_common(1)[0]
            raise ValueError(
                f"unknown label {name} in {count} rows ({len(unknown)} unknown labels in all); expected one of the "
                "model's own; misspelt, or does it need a model trained from scratch?"
            )
        empty = set(self.intents) - {u.intent for u in utterances}
        empty |= set(self.domains) - {u.domain for u in utterances}
        if empty:
            raise ValueError(
                f"no example of {', '.join(sorted(empty)[:5])}; expected at least one row of each of the "
                f"{len(self.intents)} intents and {len(self.domains)} domains; were rows of it filtered out?"
            )

    def to_json(self) -> dict[str, Any]:
        """As plain lists."""
        return {
            "domains": list(self.domains),
            "intents": list(self.intents),
            "slots": list(self.slots),
            "pairs": [list(pair) for pair in self.pairs],
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Labels":
        """Inverse of `to_json`."""
        pairs = tuple((str(domain), str(intent)) for domain, intent in stored["pairs"])
        return cls(tuple(stored["domains"]), tuple(stored["intents"]), tuple(stored["slots"]), pairs)
