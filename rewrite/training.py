"""Training of both directions: Muon for the matrices, AdamW for the rest, resumable, a step at a time."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from rewrite.generator import Generator
from rewrite.noise import ErrorChannel
from rewrite.vocabulary import Direction


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how fast to train.

    The budget is in steps, not minutes, so that the same input and seed give the same model on any machine.
    """

    steps: int = 3000
    batch_pairs: int = 64
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    channel_share: float = 0.65
    mined_share: float = 0.4
    light_share: float = 0.5  # of the synthesised queries at the start; falls to 0.05 by a third of the steps
    context_share: float = 0.3  # of the synthesised forward examples: half after a failed try at the same text
    checkpoint_every: int = 250
    seed: int = 0


@dataclass(frozen=True)
class Example:
    """One training pair, already in its direction."""

    direction: Direction
    source: str
    target: str
    turns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Corpus:
    """What is trained on: mined (query, text, turns, weight) pairs and the catalogue's texts with their weights."""

    pairs: list[tuple[str, str, tuple[str, ...]]]
    pair_weights: np.ndarray
    texts: list[str]
    text_weights: np.ndarray

    def draw_pair(self, rng: np.random.Generator) -> tuple[str, str, tuple[str, ...]]:
        """A mined pair, by weight."""
        return self.pairs[_draw_row(self._pair_sums, rng)]

    def draw_text(self, rng: np.random.Generator) -> str:
        """A text of the catalogue, by weight."""
        return self.texts[_draw_row(self._text_sums, rng)]

    @cached_property
    def id(self) -> str:
        """Hash of all that it holds."""
        content = [self.pairs, self.texts, self.text_weights.tolist(), self.pair_weights.tolist()]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @cached_property
    def _pair_sums(self) -> np.ndarray:
        return np.cumsum(self.pair_weights)

    @cached_property
    def _text_sums(self) -> np.ndarray:
        return np.cumsum(self.text_weights)


def _draw_row(sums: np.ndarray, rng: np.random.Generator) -> int:
    return min(int(np.searchsorted(sums, rng.random() * sums[-1])), len(sums) - 1)


_POOL = 16
"""Batches drawn together and sorted by length, so that little is padded."""


def batches(
    corpus: Corpus, channel: ErrorChannel, config: TrainingConfig, first_step: int = 0
) -> Iterator[list[Example]]:
    """Batches from `first_step` on; the same config gives the same stream wherever it is resumed."""
    for pool in range(first_step // _POOL, math.ceil(config.steps / _POOL)):
        rng = np.random.default_rng([config.seed, pool])
        progress = pool * _POOL / max(config.steps, 1)
        drawn = [_draw(corpus, channel, config, progress, rng) for _ in range(_POOL * config.batch_pairs)]
        drawn.sort(key=lambda e: len(e.source) + len(e.target))
        order = rng.permutation(_POOL)
        for at, row in enumerate(order):
            step = pool * _POOL + at
            if first_step <= step < config.steps:
                yield drawn[row * config.batch_pairs : (row + 1) * config.batch_pairs]


def _draw(
    corpus: Corpus, channel: ErrorChannel, config: TrainingConfig, progress: float, rng: np.random.Generator
) -> Example:
    mined = bool(corpus.pairs) and rng.random() < config.mined_share
    turns: tuple[str, ...] = ()
    if mined:
        query, text, turns = corpus.draw_pair(rng)
    else:
        text = corpus.draw_text(rng)
        light = max(0.05, config.light_share * (1 - 3 * progress))
        query = channel.light(text, rng) if rng.random() < light else channel.sample(text, rng)
    if rng.random() < config.channel_share:
        return Example("channel", text, query)
    if not mined and rng.random() < config.context_share:
        turns = (channel.sample(text, rng) if rng.random() < 0.5 else corpus.draw_text(rng),)
    return Example("forward", query, text, turns)


def train(
    generator: Generator,
    stream: Callable[[int], Iterable[list[Example]]],
    config: TrainingConfig,
    checkpoints: Path | None = None,
    report: Callable[[int, float], None] = lambda step, loss: None,
    data_id: str = "",
) -> list[float]:
    """Train `generator` in place.

    Args:
        stream: first step -> the batches from there on.
        checkpoints: where to keep the state; training resumes from what lies there if it began from the same weights,
            config and `data_id`, which names what is trained on.
        report: called with the step and its loss, nats per target token.

    Returns:
        The loss of every step run in this call.
    """
    model = generator.model.train()
    optimizers = _optimizers(model, config)
    run = _run_id(model, config, data_id)
    step = _resume(model, optimizers, run, checkpoints)
    losses = []
    torch.manual_seed(config.seed + step)  # dropout only; the data have generators of their own
    for batch in stream(step):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * group["scale"] * _schedule(step, config)
        loss = _step(generator, optimizers, batch)
        losses.append(loss)
        step += 1
        report(step, loss)
        if checkpoints is not None and (step % config.checkpoint_every == 0 or step == config.steps):
            _save(model, optimizers, run, step, checkpoints)
    generator.model.eval()
    return losses


def _run_id(model: torch.nn.Module, config: TrainingConfig, data_id: str) -> str:
    """Hash of everything that a training run begins from."""
    digest = hashlib.sha256(json.dumps([asdict(config), data_id], sort_keys=True).encode())
    for name, parameter in model.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)}".encode())
        digest.update(parameter.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def _step(generator: Generator, optimizers: list[torch.optim.Optimizer], batch: list[Example]) -> float:
    vocabulary = generator.vocabulary
    losses, mask = generator.token_losses(
        [vocabulary.source(e.direction, e.source, e.turns) for e in batch], [vocabulary.target(e.target) for e in batch]
    )
    loss = losses.sum() / mask.sum()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(generator.model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def _schedule(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, then linear decay to a twentieth."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    return max(0.05, 1 - (step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1))


def _optimizers(model: torch.nn.Module, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embeddings, norms and biases: AdamW alone needs several times the
    steps.
    """
    matrices: list[torch.nn.Parameter] = []
    rest: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        inner = parameter.ndim == 2 and (".layers." in name or ".block." in name)
        (matrices if inner else rest).append(parameter)
    muon = torch.optim.Muon(matrices, lr=config.learning_rate, adjust_lr_fn="match_rms_adamw", weight_decay=0.01)
    adamw = torch.optim.AdamW(rest, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    for optimizer in (muon, adamw):
        for group in optimizer.param_groups:
            group["scale"] = 1.0
    return [muon, adamw]


def _save(model: torch.nn.Module, optimizers: list[torch.optim.Optimizer], run: str, step: int, folder: Path) -> None:
    """Model and optimiser state as safetensors, then the step as JSON: a torn write leaves the older pair readable."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": p.detach().contiguous() for name, p in model.named_parameters()}
    for at, optimizer in enumerate(optimizers):
        for row, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"optimizer.{at}.{row}.{key}"] = torch.as_tensor(value).contiguous()
    save_file(tensors, str(folder / f"step-{step}.safetensors"))
    latest = folder / "latest.json.tmp"
    latest.write_text(json.dumps({"step": step, "run": run}))
    latest.replace(folder / "latest.json")
    for old in folder.glob("step-*.safetensors"):
        if old.name != f"step-{step}.safetensors":
            old.unlink()


def _resume(model: torch.nn.Module, optimizers: list[torch.optim.Optimizer], run: str, folder: Path | None) -> int:
    """Load the latest checkpoint of the same config; its step, 0 where there is none."""
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


def _optimizer_state(tensors: dict[str, torch.Tensor], at: int) -> dict[int, dict[str, Any]]:
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        if parts[:2] == ["optimizer", str(at)]:
            state.setdefault(int(parts[2]), {})[parts[3]] = tensor
    return state
