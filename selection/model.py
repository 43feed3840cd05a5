"""The NLU: one encoder, three heads (domain, intent, slot tags), n-best readings with calibrated confidences."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from selection.encoder import Batch, CompactConfig, CompactEncoder
from selection.examples import Slot, slots_of, words
from selection.labels import Labels

HEADS = ("domain", "intent", "slots")


@dataclass(frozen=True)
class Reading:
    """One of the n best interpretations. Confidences are calibrated probabilities.

    Attributes:
        confidence: of domain and intent together.
        domain_confidence, intent_confidence: that this domain, this intent is right, whatever the other.
        slot_confidence: that all slots are right.
        tags: BIO, one a word; what the slots were read from.
    """

    domain: str
    intent: str
    slots: tuple[Slot, ...]
    confidence: float
    domain_confidence: float
    intent_confidence: float
    slot_confidence: float
    tags: tuple[str, ...] = ()


class Nlu(nn.Module):
    """Joint model. `encoder` is an `Encoder`.

    Raises:
        ValueError: an encoder whose linear path was made for other labels.
    """

    temperatures: Tensor

    def __init__(self, encoder: Any, labels: Labels) -> None:
        super().__init__()
        self.encoder = encoder
        self.labels = labels
        if encoder.linear_width not in (0, len(labels.domains) + len(labels.intents)):
            raise ValueError(
                f"the encoder's linear path has {encoder.linear_width} logits; expected one for each of "
                f"{len(labels.domains)} domains and {len(labels.intents)} intents; is it of other labels?"
            )
        self.domain_head = nn.Linear(encoder.pooled_width, len(labels.domains))
        self.intent_head = nn.Linear(encoder.pooled_width, len(labels.intents))
        self.tag_head = nn.Linear(encoder.word_width, len(labels.tags))
        self.register_buffer("temperatures", torch.ones(len(HEADS)))

    @classmethod
    def build(cls, labels: Labels, encoder: Any = None, seed: int = 0) -> "Nlu":
        """A fresh model; without `encoder` the compact one. The global random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            compact = CompactConfig(linear=len(labels.domains) + len(labels.intents))
            return cls(encoder or CompactEncoder(compact), labels)

    def forward(self, input_ids: Tensor, mask: Tensor, first: Tensor, word_mask: Tensor) -> tuple[Tensor, ...]:
        """Logits of domain (B, L), intent (B, L) and tags (B, T, L)."""
        local, pooled = self.encoder.encode(input_ids, mask, first, word_mask)
        return *self.combined(pooled), _mean(self._by_member(self.tag_head, local))

    def views(self, batch: Batch) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor]]:
        """Logits of domain (B, L) and intent (B, L) by each view, and of the tags (B, T, L) by each member."""
        local, pooled = self.encoder.encode(batch.input_ids, batch.mask, batch.first, batch.word_mask)
        return self.views_of(pooled), self._by_member(self.tag_head, local)

    def views_of(self, pooled: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Logits of domain and intent from what the encoder says of the utterances: by each member, then by the linear
        path where there is one.
        """
        features, linear = pooled[:, : self.encoder.pooled_width], pooled[:, self.encoder.pooled_width :]
        heads = (self._by_member(head, features) for head in (self.domain_head, self.intent_head))
        members = list(zip(*heads, strict=True))
        domains = len(self.labels.domains)
        return [*members, (linear[:, :domains], linear[:, domains:])] if self.encoder.linear_width else members

    def combined(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of domain and intent: the members' mean, and a share of the linear path's where there is one."""
        views, count = self.views_of(pooled), self.encoder.members
        domain, intent = (_mean(logits) for logits in zip(*views[:count], strict=True))
        for linear in views[count:]:
            share = self.encoder.linear_share
            domain, intent = domain + share * linear[0], intent + share * linear[1]
        return domain, intent

    def _by_member(self, head: nn.Linear, features: Tensor) -> list[Tensor]:
        """A head's logits by each member's part of the features."""
        count = self.encoder.members
        parts = zip(features.chunk(count, -1), head.weight.chunk(count, 1), strict=True)
        return [nn.functional.linear(part, weight, head.bias) for part, weight in parts]

    def logits(self, batch: Batch) -> tuple[Tensor, ...]:
        """As `forward`."""
        return self.forward(batch.input_ids, batch.mask, batch.first, batch.word_mask)

    def read(self, texts: Sequence[str], k: int = 1, batch_size: int = 256) -> list[list[Reading]]:
        """The `k` best readings of each text, best first; the slots are the same in all of them.

        A reading's domain and intent occurred together in training.
        """
        found: list[list[Reading]] = [[] for _ in texts]
        for rows, heard, logits in self._batches(texts, batch_size):
            for row, readings in zip(rows, self._readings(heard, logits, k), strict=True):
                found[row] = readings
        return found

    def pair_log_probs(self, domain: Tensor, intent: Tensor) -> Tensor:
        """(B, pairs) calibrated log-probabilities of the (domain, intent) pairs, from both heads' logits."""
        domain_rows, intent_rows = self.labels.pair_rows
        d = (domain / self.temperatures[0]).log_softmax(-1)[:, domain_rows]
        i = (intent / self.temperatures[1]).log_softmax(-1)[:, intent_rows]
        return (d + i).log_softmax(-1)

    def intent_probs(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """(N, pairs) calibrated probabilities."""
        out = torch.empty((len(texts), len(self.labels.pairs)))
        for rows, _, (domain, intent, _) in self._batches(texts, batch_size):
            out[rows] = self.pair_log_probs(domain, intent).exp().cpu()
        return out

    def pooled(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """(N, D + L) features of whole utterances, what both heads see, and the linear path's logits."""
        out = torch.empty((len(texts), self.encoder.pooled_width + self.encoder.linear_width))
        with torch.no_grad():
            for rows, batch, _ in self._read_batches(texts, batch_size):
                out[rows] = self.encoder.encode(batch.input_ids, batch.mask, batch.first, batch.word_mask)[1].cpu()
        return out

    def _read_batches(self, texts: Sequence[str], size: int) -> Iterator[tuple[list[int], Batch, list[list[str]]]]:
        """Batches of about equal length, so that little is padded; the model is set to evaluate."""
        self.eval()
        heard = [words(text) for text in texts]
        by_length = sorted(range(len(texts)), key=lambda row: len(heard[row]))
        for at in range(0, len(texts), size):
            rows = by_length[at : at + size]
            said = [heard[row] for row in rows]
            yield rows, self.encoder.batch(said), said

    def _batches(
        self, texts: Sequence[str], size: int
    ) -> Iterator[tuple[list[int], list[list[str]], tuple[Tensor, ...]]]:
        for rows, batch, said in self._read_batches(texts, size):
            with torch.no_grad():
                logits = self.logits(batch)
            yield rows, said, logits

    def _readings(self, heard: list[list[str]], logits: tuple[Tensor, ...], k: int) -> list[list[Reading]]:
        domain, intent, tags = logits
        pairs = self.pair_log_probs(domain, intent).exp()
        by_domain = _marginals(pairs, self.labels.pair_rows[0], len(self.labels.domains)).tolist()
        by_intent = _marginals(pairs, self.labels.pair_rows[1], len(self.labels.intents)).tolist()
        tagged, sure = best_tags(tags / self.temperatures[2], [len(said) for said in heard], self.labels)
        top = pairs.topk(min(k, pairs.shape[1]))
        chosen = [
            zip(rows, values, strict=True)
            for rows, values in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ]
        return [
            [
                self._reading(row, value, said, tagged[at], by_domain[at], by_intent[at], sure[at])
                for row, value in chosen[at]
            ]
            for at, said in enumerate(heard)
        ]

    def _reading(
        self,
        pair: int,
        value: float,
        said: list[str],
        tags: list[str],
        by_domain: list[float],
        by_intent: list[float],
        sure: float,
    ) -> Reading:
        domain, intent = self.labels.pairs[pair]
        return Reading(
            domain,
            intent,
            slots_of(said, tags),
            value,
            by_domain[self.labels.domain_row[domain]],
            by_intent[self.labels.intent_row[intent]],
            sure,
            tuple(tags),
        )

    def save(self, folder: Path) -> None:
        """Weights as safetensors, labels and the encoder's facts as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: t.detach().clone().contiguous().cpu() for name, t in self.state_dict().items()}
        save_file(tensors, str(folder / WEIGHTS))
        config = {"encoder": self.encoder.facts(), "labels": self.labels.to_json()}
        (folder / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path, build: Callable[[dict[str, Any]], Any] | None = None) -> "Nlu":
        """Read what `save` wrote.

        Args:
            build: makes the encoder from its facts; the compact one needs none.
        """
        try:
            config = json.loads((folder / CONFIG).read_text())
            weights = load_file(str(folder / WEIGHTS))
        except OSError as error:
            raise ValueError(
                f"{folder} is no NLU model: {error}; expected {CONFIG} and {WEIGHTS}, which `reprise nlu train` writes"
            ) from error
        model = cls((build or compact)(config["encoder"]), Labels.from_json(config["labels"]))
        model.load_state_dict(weights)
        return model.eval()


def _mean(logits: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(logits)).mean(0) if len(logits) > 1 else logits[0]


CONFIG, WEIGHTS = "nlu.json", "nlu.safetensors"


def compact(facts: dict[str, Any]) -> CompactEncoder:
    """The compact encoder from its facts."""
    if facts.get("kind") != "compact":
        raise ValueError(f"the model has an encoder of kind {facts.get('kind')!r}; expected 'compact' here")
    return CompactEncoder(CompactConfig.of_facts({name: value for name, value in facts.items() if name != "kind"}))


def _marginals(pairs: Tensor, rows: list[int], count: int) -> Tensor:
    """(B, count) sums of the pairs' probabilities by their row in one head."""
    return torch.zeros((len(pairs), count), device=pairs.device).index_add_(
        1, torch.tensor(rows, device=pairs.device), pairs
    )


def best_tags(logits: Tensor, lengths: Sequence[int], labels: Labels) -> tuple[list[list[str]], list[float]]:
    """The likeliest tags in which no slot begins with I (Viterbi), and the probability that all of them are right.

    Args:
        logits: (B, T, L). lengths: words of each of the B utterances.
    """
    scores = logits.log_softmax(-1)
    numbers = torch.arange(len(labels.tags), device=logits.device)
    best = scores[:, 0].clone()
    best[:, 2::2] = -torch.inf
    ends, back = [best], []
    for at in range(1, logits.shape[1]):
        through, source = best.max(1, keepdim=True)
        through, source = through.expand_as(best).clone(), source.expand_as(best).clone()
        # I of a slot (every second row) comes after B or I of the same slot only
        begun, inside = best[:, 1::2], best[:, 2::2]
        through[:, 2::2] = torch.maximum(begun, inside)
        source[:, 2::2] = torch.where(inside > begun, numbers[2::2], numbers[1::2])
        best = through + scores[:, at]
        back.append(source)
        ends.append(best)
    return _follow(ends, back, lengths, labels)


def _follow(
    ends: list[Tensor], back: list[Tensor], lengths: Sequence[int], labels: Labels
) -> tuple[list[list[str]], list[float]]:
    """Walk the back pointers from each utterance's last word."""
    last = torch.stack(ends, 1).cpu()[torch.arange(len(lengths)), torch.tensor(lengths) - 1]
    value, final = (part.tolist() for part in last.max(1))
    pointers = torch.stack(back).cpu().tolist() if back else []
    found, sure = [], []
    for row, length in enumerate(lengths):
        path = [final[row]]
        for at in range(length - 2, -1, -1):
            path.append(pointers[at][row][path[-1]])
        found.append([labels.tags[tag] for tag in reversed(path)])
        sure.append(min(1.0, math.exp(value[row])))
    return found, sure
