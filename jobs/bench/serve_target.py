"""The service that `reprise bench serve` sends its load to, ours or the reference, in a process of its own.

The reference is the same endpoint, with the same limits, where each turn calls transformers' `generate` under a
`prefix_allowed_tokens_fn` over all texts of the global space. It only proposes: no decision is computed, which is in
its favour.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.job import Answer, Hidden, Job

SYSTEMS = ("reprise", "generate")
BEAMS = 4


class GenerateEngine:
    """Proposes by beam search with a constraint, one turn at a time."""

    def __init__(self, folder: Path, threads: int) -> None:
        import torch

        from jobs.bench.rivals import DictConstrained, Shape
        from rewrite import Rewriter
        from rewrite.trie_build import Ragged

        torch.set_num_threads(threads)
        rewriter = Rewriter.load(folder)
        self.bundle_id = str(rewriter.bundle_id)
        self.facts: dict[str, Any] = {}
        self._generator: Any = rewriter.scorer.generator
        if self._generator is None:
            raise ValueError(f"{folder} has no generator, so there is nothing for `generate` to run")
        members = [self._generator.vocabulary.target(text) for text in rewriter.scorer.knowledge.texts]
        shape = Shape(self._generator.model, self._generator.vocabulary.eos_id, BEAMS, max(map(len, members)))
        self._system = DictConstrained(shape, Ragged.of(members))

    def memo(self) -> list[str]:
        """Where the result of one turn goes."""
        return []

    def attempt(self, job: Job, memo: list[str]) -> Any:
        """The answer, once `generate` ran."""
        if not memo:
            return job.turn
        return Answer(job.job_id, memo[0], "global", 0.0, "rewritten")

    def unasked(self, job: Job, memo: list[str]) -> None:
        """There is no answer without `generate`."""

    def compute(self, needs: Sequence[tuple[Any, Any]]) -> None:
        """Run `generate` for each turn by itself."""
        for memo, turn in needs:
            ids, mask = self._generator.pad([self._generator.vocabulary.source("forward", turn.utterance, turn.turns)])
            (found,) = self._system(ids, mask, 1)
            memo.append(self._generator.vocabulary.text(found))

    def hide(self, hidden: Hidden) -> None:
        """Nothing is hidden in a measurement."""

    def warm(self) -> None:
        """Run once."""
        from rewrite.turn import Turn

        self.compute([([], Turn("warm"))])

    def idle(self) -> bool:
        """Nothing can be done ahead."""
        return False


def main(system: str, bundle: str, state: str, settings: dict[str, Any]) -> None:
    """Serve until SIGTERM, and print the port once listening."""
    from jobs import logs
    from serving.config import ServeConfig
    from serving.pool import Pool
    from serving.seats import InlineSeat
    from serving.server import run

    logs.configure("warning")
    config = ServeConfig(
        bundle=Path(bundle), state=Path(state), port=0, holdout_share=0.0, grace_s=0.0, watch_s=5.0, **settings
    )

    def started(_: Any, port: int) -> None:
        print(f"port {port}", flush=True)

    def opened(path: str) -> GenerateEngine:
        return GenerateEngine(Path(path), config.threads)

    pool = Pool(1, lambda hear, _: InlineSeat(opened, hear, 1)) if system == "generate" else None
    run(config, started=started, pool=pool)


if __name__ == "__main__":
    import json

    main(sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))
