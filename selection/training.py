"""Training of the NLU: from scratch or from earlier weights with rehearsal; resumable; the same bytes every time."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import cross_entropy

from selection.encoder import Batch
from selection.examples import Utterance, align, words
from selection.labels import Labels
from selection.model import Nlu


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how fast to train.

    Attributes:
        epochs: passes over the rows, from scratch.
        batch_rows: rows of a step.
        learning_rate: of the compact encoder; a pretrained one wants about 5e-5.
        label_smoothing: of the domain and intent heads.
        word_dropout: share of the positions hidden in training from an encoder that hides no words by itself.
        checkpoint_every: steps between checkpoints.
    """

    epochs: int = 8
    batch_rows: int = 64
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    weight_decay: float = 0.01
    label_smoothing: float = 0.1
    word_dropout: float = 0.1
    checkpoint_every: int = 200
    seed: int = 0


@dataclass(frozen=True)
class WarmConfig:
    """How to teach a trained model a few more rows.

    Attributes:
        steps: of one batch each.
        rehearsed: rows drawn from the old training set in every batch, against forgetting.
        new: rows drawn from the new ones in every batch.
    """

    steps: int = 100
    rehearsed: int = 56
    new: int = 8
    learning_rate: float = 5e-4
    seed: int = 0


@dataclass(frozen=True)
class Prepared:
    """Rows as label numbers: words, domain and intent rows, tag rows (None where slots do not align)."""

    heard: list[list[str]]
    domains: np.ndarray
    intents: np.ndarray
    tags: list[list[int] | None]

    @classmethod
    def of(cls, utterances: Sequence[Utterance], labels: Labels) -> "Prepared":
        """Look the labels up; they must be known (`Labels.check`)."""
        return cls(
            [words(u.text) for u in utterances],
            np.array([labels.domain_row[u.domain] for u in utterances], dtype=np.int64),
            np.array([labels.intent_row[u.intent] for u in utterances], dtype=np.int64),
            [None if (t := align(u.text, u.slots)) is None else [labels.tag_row[x] for x in t] for u in utterances],
        )

    def __add__(self, other: "Prepared") -> "Prepared":
        return Prepared(
            self.heard + other.heard,
            np.concatenate([self.domains, other.domains]),
            np.concatenate([self.intents, other.intents]),
            self.tags + other.tags,
        )


_POOL = 16
"""Batches drawn together and sorted by length, so that little is padded."""


def epochs(lengths: np.ndarray, config: TrainingConfig, first_step: int = 0) -> Iterator[np.ndarray]:
    """Rows of every step from `first_step` on: whole passes in seeded order, rows of like length together.

    Args:
        lengths: (N,) words of each row.
    """
    steps_an_epoch = math.ceil(len(lengths) / config.batch_rows)
    for epoch in range(first_step // steps_an_epoch, config.epochs):
        rng = np.random.default_rng([config.seed, epoch])
        order = rng.permutation(len(lengths))
        pools = [order[at : at + _POOL * config.batch_rows] for at in range(0, len(order), _POOL * config.batch_rows)]
        chunks = [chunk for pool in pools for chunk in _sorted_chunks(pool, lengths, config.batch_rows, rng)]
        yield from chunks[max(0, first_step - epoch * steps_an_epoch) :]


def _sorted_chunks(pool: np.ndarray, lengths: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    by_length = pool[np.argsort(lengths[pool], kind="stable")]
    chunks = [by_length[at : at + size] for at in range(0, len(by_length), size)]
    yield from (chunks[at] for at in rng.permutation(len(chunks)))


def train(
    model: Nlu,
    utterances: Sequence[Utterance],
    config: TrainingConfig,
    checkpoints: Path | None = None,
    report: Callable[[int, float], None] = lambda step, loss: None,
) -> list[float]:
    """Train `model` in place on all rows.

    Args:
        checkpoints: where to keep the state; training resumes from what lies there if it began from the same weights,
            rows and config.
        report: called with the step and its loss in nats.

    Returns:
        The loss of every step run in this call.

    Raises:
        ValueError: unknown labels, or a label without a row.
    """
    model.labels.check(utterances)
    rows = Prepared.of(utterances, model.labels)
    lengths = np.array([len(heard) for heard in rows.heard])
    model.encoder.meet(rows.heard)
    model.encoder.weigh(rows.heard)
    steps = steps_of(len(lengths), config)
    optimizers = _optimizers(model, config.learning_rate, config.weight_decay)
    run = _run_id(model, config, utterances)
    step = _resume(model, optimizers, run, checkpoints)
    losses = []
    model.train()
    for chosen in epochs(lengths, config, step):
        rate = config.learning_rate * _schedule(step, steps, config.warmup_steps)
        losses.append(_step(model, optimizers, rows, chosen, rate, config, step))
        step += 1
        report(step, losses[-1])
        if checkpoints is not None and (step % config.checkpoint_every == 0 or step == steps):
            _save(model, optimizers, run, step, checkpoints)
    model.eval()
    return losses


def steps_of(row_count: int, config: TrainingConfig) -> int:
    """Steps that `train` takes."""
    return config.epochs * math.ceil(row_count / config.batch_rows)


def warm_train(model: Nlu, old: Prepared, new: Prepared | None, config: WarmConfig) -> list[float]:
    """Train `model` in place for a few more steps, every batch of old rows with some of the new ones among them.

    The rehearsed rows depend on the seed only, not on `new`: two selections of the same seed see the same batches but
    for what was selected. `new` None, or empty, is rehearsal alone.

    Returns:
        The loss of every step.
    """
    fresh = new if new is not None and len(new.heard) else None
    both = old + fresh if fresh else old
    model.encoder.meet(both.heard)
    training = TrainingConfig(learning_rate=config.learning_rate, seed=config.seed, warmup_steps=5)
    optimizers = _optimizers(model, config.learning_rate, training.weight_decay)
    draw = np.random.default_rng([config.seed, 1])
    cycle = _cycle(len(fresh.heard), np.random.default_rng([config.seed, 2])) if fresh else iter(())
    losses = []
    model.train()
    for step in range(config.steps):
        rehearsed = draw.choice(len(old.heard), size=min(config.rehearsed, len(old.heard)), replace=False)
        added = [len(old.heard) + next(cycle) for _ in range(config.new)] if fresh else []
        chosen = np.concatenate([rehearsed, np.array(added, dtype=np.int64)])
        rate = config.learning_rate * _schedule(step, config.steps, training.warmup_steps)
        losses.append(_step(model, optimizers, both, chosen, rate, training, step))
    model.eval()
    return losses


def _cycle(count: int, rng: np.random.Generator) -> Iterator[int]:
    """Rows of the new ones, each as often as any other, for ever."""
    while True:
        yield from (int(row) for row in rng.permutation(count))


def _step(
    model: Nlu,
    optimizers: Sequence[torch.optim.Optimizer],
    rows: Prepared,
    chosen: np.ndarray,
    rate: float,
    config: TrainingConfig,
    step: int,
) -> float:
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["lr"] = rate
    # dropout draws from torch's global state: set for this step alone, so that a resumed run draws the same
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed * 1_000_003 + step)
        loss = batch_loss(model, rows, chosen, config)
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    dense = [p for p in model.parameters() if p.grad is not None and not p.grad.is_sparse]
    torch.nn.utils.clip_grad_norm_(dense, model.encoder.members**0.5)
    for optimizer in optimizers:
        optimizer.step()
    return float(loss.detach())


def batch_loss(model: Nlu, rows: Prepared, chosen: np.ndarray, config: TrainingConfig) -> Tensor:
    """Mean loss of some rows: intent, domain at half weight, and tags where they are known."""
    batch = model.encoder.batch([rows.heard[row] for row in chosen])
    if config.word_dropout and not model.encoder.hides_words:
        batch = _hide_words(model, batch, config.word_dropout)
    views, tags = model.views(batch)
    domains, intents = (torch.from_numpy(y[chosen]).to(tags[0].device) for y in (rows.domains, rows.intents))
    smoothed = [config.label_smoothing] * len(tags) + [0.0] * (len(views) - len(tags))
    loss = _views_loss(views, domains, intents, smoothed)
    right_tags = _tag_rows([rows.tags[row] for row in chosen], tags[0].shape[1]).to(tags[0].device)
    if (right_tags >= 0).any():
        for said in tags:
            loss = loss + cross_entropy(said.flatten(0, 1), right_tags.flatten(), ignore_index=-1)
    return loss


def _views_loss(
    views: Sequence[tuple[Tensor, Tensor]], domains: Tensor, intents: Tensor, smoothed: Sequence[float]
) -> Tensor:
    """Every view has a loss of its own, so that their mistakes stay different.

    Args:
        smoothed: label smoothing of each view; the linear path has none, which would cost it more than it gives.
    """
    loss = torch.zeros((), device=intents.device)
    for (domain, intent), smooth in zip(views, smoothed, strict=True):
        loss = loss + cross_entropy(intent, intents, label_smoothing=smooth)
        loss = loss + 0.5 * cross_entropy(domain, domains, label_smoothing=smooth)
    return loss


def _hide_words(model: Nlu, batch: Batch, share: float) -> Batch:
    """PAD in the place of a random share of the positions."""
    hidden = torch.rand(batch.input_ids.shape) < share
    ids = model.encoder.baseline(batch).where(hidden.to(batch.input_ids.device), batch.input_ids)
    return batch._replace(input_ids=ids)


def _tag_rows(tags: Sequence[list[int] | None], length: int) -> Tensor:
    """(B, T) tag rows, -1 where there is no word or nothing is known."""
    padded = [(known or []) + [-1] * (length - len(known or [])) for known in tags]
    return torch.tensor(padded)


def _schedule(step: int, steps: int, warmup: int) -> float:
    """Linear warm-up, then linear decay to a fiftieth."""
    return min((step + 1) / warmup, max(0.02, 1 - step / max(steps, 1)))


def _optimizers(model: Nlu, rate: float, decay: float) -> list[torch.optim.Optimizer]:
    """AdamW; and for embeddings with sparse gradients an Adam that touches only the rows of the batch."""
    sparse = [m.weight for m in model.modules() if isinstance(m, torch.nn.EmbeddingBag) and m.sparse]
    rest = [p for p in model.parameters() if all(p is not other for other in sparse)]
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=decay, fused=True)
    ]
    return [*found, torch.optim.SparseAdam(sparse, lr=rate, betas=(0.9, 0.98))] if sparse else found


def _run_id(model: Nlu, config: TrainingConfig, utterances: Sequence[Utterance]) -> str:
    """Hash of everything that a training run begins from."""
    content = [asdict(config), [asdict(u) for u in utterances]]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode(errors="surrogatepass"))
    for name, parameter in model.named_parameters():
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def _save(model: Nlu, optimizers: Sequence[torch.optim.Optimizer], run: str, step: int, folder: Path) -> None:
    """State as safetensors, then the step as JSON: a torn write leaves the older pair readable."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": p.detach().contiguous() for name, p in model.named_parameters()}
    for at, optimizer in enumerate(optimizers):
        for row, state in optimizer.state_dict()["state"].items():
            tensors.update({f"optimizer.{at}.{row}.{key}": torch.as_tensor(v).contiguous() for key, v in state.items()})
    save_file(tensors, str(folder / f"step-{step}.safetensors"))
    latest = folder / "latest.json.tmp"
    latest.write_text(json.dumps({"step": step, "run": run}))
    latest.replace(folder / "latest.json")
    for old in folder.glob("step-*.safetensors"):
        if old.name != f"step-{step}.safetensors":
            old.unlink()


def _resume(model: Nlu, optimizers: Sequence[torch.optim.Optimizer], run: str, folder: Path | None) -> int:
    """Load the latest checkpoint of the same run; its step, 0 where there is none."""
    if folder is None or not (folder / "latest.json").exists():
        return 0
    latest = json.loads((folder / "latest.json").read_text())
    if latest["run"] != run:
        return 0
    tensors = load_file(str(folder / f"step-{latest['step']}.safetensors"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model.{name}"])
    for at, optimizer in enumerate(optimizers):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": _optimizer_state(tensors, at)})
    return int(latest["step"])


def _optimizer_state(tensors: Mapping[str, Tensor], at: int) -> dict[int, dict[str, Any]]:
    states: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        if parts[:2] == ["optimizer", str(at)]:
            # SparseAdam counts its steps in a plain number
            plain = parts[3] == "step" and tensor.dtype == torch.int64
            states.setdefault(int(parts[2]), {})[parts[3]] = int(tensor) if plain else tensor
    return states
