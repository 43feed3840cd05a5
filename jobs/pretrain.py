"""Make the base model that ships: `python -m jobs.pretrain --pairs P.parquet --texts T.parquet --out rewrite/base`.

Learns how spoken requests are misheard, in both directions, from recogniser pairs and from noisy queries synthesised
for a broad catalogue. The project's own grammar and recordings are always part of it; `--pairs` and `--texts` add more,
and so does what `python -m jobs.world.speak` heard of any texts: `--recordings`.
Of every file of pairs a share is left out, by text, for `reprise bench quality --held-out` to measure on.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.base import held_out
from jobs.faults import run_alone
from jobs.threads import default_threads

if TYPE_CHECKING:
    from rewrite.training import Corpus

RECOGNITIONS = Path(__file__).parent / "demo" / "recognitions.parquet"
LONGEST_CHARS = 90
_UNSPOKEN = re.compile(r"[^\w' ]+|_")

Pair = tuple[str, str]
"""(heard, meant)"""


def spoken_form(text: str) -> str:
    """A text as a recogniser would write it: normalised, and without punctuation other than the apostrophe."""
    from rewrite.text import normalise

    return " ".join(_UNSPOKEN.sub(" ", normalise(text)).split())


def pretrain(
    out: Annotated[Path, typer.Option(help="Folder to write the model to.")],
    pairs: Annotated[list[Path] | None, typer.Option(help="Parquet with columns recognised and spoken.")] = None,
    texts: Annotated[list[Path] | None, typer.Option(help="Parquet with a column text or spoken.")] = None,
    recordings: Annotated[list[Path] | None, typer.Option(help="JSON lines that jobs.world.speak wrote.")] = None,
    heard_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the examples with a query that was heard, not synthesised.")
    ] = 0.35,
    grammar_texts: Annotated[int, typer.Option(min=0, help="Further texts drawn from the open grammar.")] = 4000,
    start: Annotated[Path | None, typer.Option(help="Model to go on from; default random weights.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of 64 pairs.")] = 8000,
    learning_rate: Annotated[float, typer.Option(help="Its height after the warm-up.")] = 2e-3,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads for the model.")] = default_threads(),
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Train the base model; checkpoints lie beside `out`, and the same command resumes from them."""
    import shutil

    import torch

    from jobs.progress import progress
    from rewrite.generator import Generator, GeneratorConfig
    from rewrite.noise import ErrorChannel
    from rewrite.training import TrainingConfig, batches, train

    torch.set_num_threads(threads)
    known = own_pairs(RECOGNITIONS) + [p for path in pairs or [] for p in read_pairs(path) if not held_out(p[1])]
    catalogue = own_texts(grammar_texts, seed) + [t for path in texts or [] for t in read_texts(path)]
    recorded = [p for path in recordings or [] for p in read_recordings(path) if not held_out(p[1])]
    # queries are synthesised as the pairs' recognisers err: that of the recordings errs more, and otherwise
    real = _formed(known)
    channel = ErrorChannel(real, [heard for heard, _ in real])
    corpus = corpus_of(known, catalogue, recorded)
    config = TrainingConfig(steps=steps, seed=seed, mined_share=heard_share, learning_rate=learning_rate)
    generator = Generator.build(GeneratorConfig(), seed) if start is None else Generator.load(start)
    generator.model.to(device)
    checkpoints = out.parent / f".{out.name}.checkpoints"
    typer.echo(f"{len(corpus.pairs)} pairs, {len(corpus.texts)} texts, {steps} steps, seed {seed}", err=True)
    with progress("pretrain", steps) as advance:
        losses = train(
            generator,
            lambda first: batches(corpus, channel, config, first),
            config,
            checkpoints,
            lambda step, loss: advance(note=f"loss {loss:.3f} nats a byte"),
            corpus.id,
        )
    generator.model.to("cpu")
    generator.save(out)
    before = None if start is None else json.loads((start / "training.json").read_text())
    facts = {"pairs": len(corpus.pairs), "texts": len(corpus.texts), "steps": steps, "seed": seed, "start": before}
    last = losses[-200:]
    facts_text = json.dumps({**facts, "loss_of_last_steps": round(sum(last) / max(len(last), 1), 4)}, indent=1)
    (out / "training.json").write_text(facts_text + "\n")
    shutil.rmtree(checkpoints, ignore_errors=True)


def read_pairs(path: Path) -> list[Pair]:
    """(heard, meant) of a parquet file with columns `recognised` and `spoken`, in spoken form."""
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=["recognised", "spoken"])
    heard, meant = (map(spoken_form, table[name].to_pylist()) for name in ("recognised", "spoken"))
    return list(zip(heard, meant, strict=True))


def read_recordings(path: Path) -> list[Pair]:
    """(heard, meant) of what `jobs.world.speak` wrote: all that its recogniser took each first take for.

    Raises:
        ValueError: a line is not such a recording.
    """
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            heard, first = dict.fromkeys((row["recognised"], *row["nbest"])), row["take"] == 0
            pairs += [(text, row["text"]) for text in heard if first]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}:{number} is no recording of jobs.world.speak ({error!r}); expected text, take, recognised "
                "and nbest; the last line of a job that was stopped may be cut short: delete it"
            ) from error
    return pairs


def read_texts(path: Path) -> list[str]:
    """Texts of a parquet file with a column `text` or `spoken`."""
    import pyarrow.parquet as pq

    names = pq.read_schema(path).names
    column = next((name for name in ("text", "spoken") if name in names), None)
    if column is None:
        raise ValueError(f"{path} has columns {', '.join(names)}; expected text or spoken")
    found: list[str] = pq.read_table(path, columns=[column])[column].to_pylist()
    return found


def own_pairs(recognitions: Path) -> list[Pair]:
    """First takes of the project's own recordings: the second takes are what the demo's last week is made of."""
    import pyarrow.parquet as pq

    rows = pq.read_table(recognitions, columns=["text", "take", "recognised"]).to_pylist()
    return [(r["recognised"], r["text"]) for r in rows if r["take"] == 0]


def own_texts(count: int, seed: int) -> list[str]:
    """The spoken catalogue, and `count` texts of the open grammar."""
    import numpy as np

    from jobs.world.grammar import generate, spoken_catalogue
    from jobs.world.speak import CATALOGUE_SEED

    spoken = list(spoken_catalogue(np.random.default_rng(CATALOGUE_SEED)))
    return spoken + (generate(count, np.random.default_rng(seed)) if count else [])


def corpus_of(pairs: Sequence[Pair], texts: Sequence[str], recorded: Sequence[Pair] = ()) -> "Corpus":
    """Distinct, in spoken form, short enough; pairs that were heard right teach nothing and are left out.

    Args:
        recorded: further pairs, all together of the weight of `pairs`: of one recording there are up to six.
    """
    import numpy as np

    from rewrite.training import Corpus

    kept = _formed(pairs)
    more = sorted(set(_formed(recorded)) - set(kept))
    weights = np.concatenate([np.ones(len(kept)), np.full(len(more), max(len(kept), 1) / max(len(more), 1))])
    spoken = {m for _, m in (*kept, *more)}
    catalogue = sorted({t for t in map(spoken_form, texts) if 0 < len(t) <= LONGEST_CHARS} | spoken)
    return Corpus([(h, m, ()) for h, m in (*kept, *more)], weights, catalogue, np.ones(len(catalogue)))


def _formed(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs that `corpus_of` keeps, sorted."""
    formed = {(spoken_form(heard), spoken_form(meant)) for heard, meant in pairs}
    return sorted((h, m) for h, m in formed if h and m and h != m and max(len(h), len(m)) <= LONGEST_CHARS)


if __name__ == "__main__":
    run_alone(pretrain)
