"""What `reprise bench decode` measures."""

import gc
import platform
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jobs.bench import decode_steps, rivals
from mining.store import global_trie
from rewrite.generator import Generator, GeneratorConfig
from rewrite.search import Candidate, SearchStats, search
from rewrite.trie import TokenTrie
from rewrite.trie_build import Ragged

DRAWN = ("ours", "dict", "marisa", "csr", "free")
HEADER = (
    f"{'texts':>8} {'batch':>5} {'k':>2}  {'system':24} {'ms/query':>9} {'cpu ms':>9} {'forwards':>9} "
    f"{'proved':>7} {'missed':>7} {'B/text':>8} {'built s':>8}"
)


Cell = tuple[int, int, int, str]
"""Texts in the trie, batch, k, system."""


@dataclass(frozen=True)
class Settings:
    """What to measure; see the options of `reprise bench decode`."""

    texts: Path | None
    model: Path | None
    sizes: list[int]
    batches: list[int]
    ks: list[int]
    systems: list[str]
    queries: int
    edits: int
    beams: int
    threads: int
    device: str
    dict_limit: int
    seed: int


def machine(wanted: Settings) -> dict[str, Any]:
    """Where and on what the rows were measured."""
    import transformers

    cells = {"sizes", "batches", "ks", "systems"}  # every row tells its own
    settings = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in asdict(wanted).items()
        if name not in cells
    }
    return {
        "processor": _processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        **settings,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [x for x in info.read_text().splitlines() if x.startswith("model name")] if info.exists() else []
    return names[0].split(":", 1)[1].strip() if names else platform.processor() or platform.machine()


def rows(wanted: Settings, known: Collection[Cell] = ()) -> Iterator[dict[str, Any]]:
    """All rows but the known ones, tries by size, small first."""
    torch.set_num_threads(wanted.threads)
    sizes = [size for size in wanted.sizes if _missing(wanted, size, known)]
    if not sizes:
        return
    generator = _generator(wanted)
    texts = _texts(wanted)
    for size in sizes:
        rng = np.random.default_rng([wanted.seed, size])
        chosen = [texts[i] for i in rng.choice(len(texts), size, replace=False)] if size < len(texts) else texts[:size]
        left = _missing(wanted, size, known)
        usual = [cell for cell in left if cell[3] != "static"]
        yield from _rows_of_size(wanted, generator, chosen, rng, size, usual)
        if len(left) > len(usual):
            alike = _one_length(generator, chosen)
            yield from _rows_of_size(wanted, generator, alike, rng, size, [c for c in left if c[3] == "static"])
        gc.collect()


def _missing(wanted: Settings, size: int, known: Collection[Cell]) -> list[Cell]:
    cells = [(size, batch, k, name) for batch in wanted.batches for k in wanted.ks for name in wanted.systems]
    return [cell for cell in cells if cell not in known]


def _one_length(generator: Generator, texts: Sequence[str]) -> list[str]:
    """The texts of the commonest number of tokens."""
    lengths = [len(generator.vocabulary.target(text)) for text in texts]
    commonest = int(np.bincount(lengths).argmax())
    return [text for text, length in zip(texts, lengths, strict=True) if length == commonest]


def _generator(wanted: Settings) -> Generator:
    generator = (
        Generator.build(GeneratorConfig(), wanted.seed) if wanted.model is None else Generator.load(wanted.model)
    )
    generator.model.to(wanted.device).eval()
    return generator


def _texts(wanted: Settings) -> list[str]:
    """Distinct texts, the file's first, then the grammar's, enough for the largest trie."""
    texts = [] if wanted.texts is None else read_texts(wanted.texts)
    missing = max(wanted.sizes) - len(texts)
    if missing > 0:
        from jobs.world.grammar import generate

        more = generate(max(wanted.sizes), np.random.default_rng(wanted.seed))
        texts = list(dict.fromkeys([*texts, *more]))
    return texts


def read_texts(path: Path) -> list[str]:
    """Distinct normalised texts of a file: one a line, or the column `text` or `spoken` of a parquet file."""
    from rewrite.text import normalise

    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        names = [name for name in ("text", "spoken") if name in pq.read_schema(path).names]
        if not names:
            raise ValueError(f"{path} has neither a column text nor spoken; got {pq.read_schema(path).names}")
        lines = pq.read_table(path, columns=names[:1]).column(0).to_pylist()
    else:
        lines = path.read_text().splitlines()
    return [text for text in dict.fromkeys(normalise(line) for line in lines if line) if text]


def misheard(text: str, edits: int, rng: np.random.Generator) -> str:
    """`text` with 1 to `edits` characters replaced, dropped or inserted."""
    letters = list(text)
    for _ in range(int(rng.integers(1, edits + 1)) if edits else 0):
        place = int(rng.integers(len(letters)))
        wrong = "abcdefghijklmnopqrstuvwxyz"[rng.integers(26)]
        letters[place : place + 1] = [[wrong], [], [wrong, letters[place]]][rng.integers(3)]
        letters = letters or [wrong]
    return "".join(letters)


def _rows_of_size(
    wanted: Settings,
    generator: Generator,
    texts: Sequence[str],
    rng: np.random.Generator,
    size: int,
    cells: Sequence[Cell],
) -> Iterator[dict[str, Any]]:
    """Rows of the cells, all of one size. Ours is measured beside every rival, and becomes a row if it is asked for."""
    vocabulary = generator.vocabulary
    members = Ragged.of([vocabulary.target(text) for text in texts])
    start = time.perf_counter()
    trie = TokenTrie.build(members)
    built = {"ours": time.perf_counter() - start}
    shape = rivals.Shape(generator.model, vocabulary.eos_id, wanted.beams, int(members.lengths.max()))
    names = list(dict.fromkeys(cell[3] for cell in cells))
    systems = _systems(wanted, names, shape, members, built)
    weight = {name: rivals.bytes_of(system) for name, system in systems.items()}
    store = len(global_trie(texts).tobytes()) / len(trie) if "ours" in names else 0.0
    most = max(wanted.queries, max(wanted.batches))
    queries = [misheard(texts[i], wanted.edits, rng) for i in rng.integers(0, len(texts), most)]
    for batch, k in dict.fromkeys(cell[1:3] for cell in cells):
        asked = [cell[3] for cell in cells if cell[1:3] == (batch, k)]
        about = {"size": size, "texts": len(trie), "batch": batch, "k": k}
        count = -(-wanted.queries // batch) * batch
        if set(asked) - {"step"}:
            here = {name: system for name, system in systems.items() if name in asked}
            cell = _Cell(generator, trie, here, shape, k)
            for low in range(0, count, batch):
                cell.run([queries[i % most] for i in range(low, low + batch)])
            for row in cell.rows():
                name = row["key"]
                if name in asked or "static" in asked:
                    if name == "ours" and "static" in asked:
                        row |= {"key": "ours, static", "system": "reprise, one length"}
                    weighs = trie.nbytes if name == "ours" else weight[name]
                    yield about | row | {
                        "queries": count, "bytes_per_text": None if weighs is None else weighs / len(trie),
                        "build_seconds": built.get(name),
                    } | ({"store_bytes_per_text": store} if name == "ours" else {})  # fmt: skip
        if "step" in asked:
            ids, mask = generator.pad([vocabulary.source("forward", query) for query in queries[:batch]])
            yield about | {"key": "step"} | decode_steps.cost(generator.model, ids, mask, trie, k)


def _systems(
    wanted: Settings, names: Sequence[str], shape: rivals.Shape, members: Ragged, built: dict[str, float]
) -> dict[str, Any]:
    makers: dict[str, Callable[[], Any]] = {
        "dict": lambda: rivals.DictConstrained(shape, members),
        "marisa": lambda: rivals.MarisaConstrained(shape, members),
        "csr": lambda: rivals.CsrConstrained(shape, members),
        "static": lambda: rivals.StaticConstrained(shape, members),
        "free": lambda: rivals.Unconstrained(shape),
    }
    if len(members) > wanted.dict_limit:
        makers.pop("dict")
    made = {}
    gc.disable()  # nested dicts by the million: collecting them again and again is most of the time
    for name in [name for name in names if name in makers]:
        start = time.perf_counter()
        made[name] = makers[name]()
        built[name] = time.perf_counter() - start
    gc.enable()
    gc.freeze()
    return made


class _Cell:
    """One trie, batch size and k: all systems take turns over the batches."""

    def __init__(
        self, generator: Generator, trie: TokenTrie, systems: dict[str, Any], shape: rivals.Shape, k: int
    ) -> None:
        self.generator, self.trie, self.systems, self.k = generator, trie, systems, k
        self.seconds = dict.fromkeys(["ours", *systems], 0.0)
        self.cpu_seconds, self.forwards = dict.fromkeys(self.seconds, 0.0), dict.fromkeys(self.seconds, 0.0)
        self.missed = dict.fromkeys(self.seconds, 0)
        self.failed: dict[str, str] = {}
        self.proved = self.count = 0
        self._calls = 0
        self._hook = shape.model.get_decoder().register_forward_pre_hook(self._count_call)
        self._warm()

    def _count_call(self, *_: Any) -> None:
        self._calls += 1

    def _warm(self) -> None:
        """The first call of anything pays for what later calls share."""
        ids, mask = self._inputs(["warm up"])
        for name in self.seconds:
            self._answer(name, ids, mask)

    def _inputs(self, queries: Sequence[str]) -> tuple[Tensor, Tensor]:
        return self.generator.pad([self.generator.vocabulary.source("forward", query) for query in queries])

    def _answer(self, name: str, ids: Tensor, mask: Tensor) -> tuple[list[Any], float]:
        """Best member of each query, and decoder forwards each query took part in on average."""
        if name == "ours":
            stats = SearchStats()
            found = search(
                self.generator.model, ids, mask, tries=[self.trie], k=self.k, prove=1, max_forwards=400, stats=stats
            )
            return [each[0] if each else None for each in found], float(np.mean(stats.query_forwards))
        self._calls = 0
        if name in self.failed:
            return [None] * len(ids), 0.0
        try:
            return self.systems[name](ids, mask, self.k), self._calls
        except (RuntimeError, ValueError, IndexError) as error:  # the rival's own failing: shown in its row
            self.failed[name] = str(error).splitlines()[0][:200]
            return [None] * len(ids), 0.0

    def run(self, queries: Sequence[str]) -> None:
        """Time every system on one batch; compare with our answers where they are proved."""
        ids, mask = self._inputs(queries)
        answers = {}
        for name in self.seconds:
            _wait(ids)
            start, cpu_start = time.perf_counter(), time.process_time()
            answers[name], forwards = self._answer(name, ids, mask)
            _wait(ids)
            self.seconds[name] += time.perf_counter() - start
            self.cpu_seconds[name] += time.process_time() - cpu_start  # of all threads; steadier where others compute
            self.forwards[name] += forwards * len(queries)
        self.count += len(queries)
        for row, best in enumerate(answers["ours"]):
            if isinstance(best, Candidate) and best.proved:
                self.proved += 1
                for name in self.systems:
                    self.missed[name] += answers[name][row] != best.token_ids

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row per system."""
        self._hook.remove()
        for name in self.seconds:
            ours = name == "ours"
            row = {
                "key": name,
                "system": "reprise" if ours else self.systems[name].name,
                "ms_per_query": 1e3 * self.seconds[name] / self.count,
                "cpu_ms_per_query": 1e3 * self.cpu_seconds[name] / self.count,
                "forwards_per_query": self.forwards[name] / self.count,
                "proved_share": self.proved / self.count if ours else 0.0,
                "missed_share": 0.0 if ours else self.missed[name] / max(self.proved, 1),
            }
            if name in self.failed:
                row |= {
                    "ms_per_query": None,
                    "cpu_ms_per_query": None,
                    "missed_share": None,
                    "error": self.failed[name],
                }
            yield row


def _wait(on: Tensor) -> None:
    if on.device.type == "cuda":
        torch.cuda.synchronize()


def line(row: dict[str, Any]) -> str:
    """A row for the terminal."""

    def cell(name: str, width: int, digits: int) -> str:
        value = row.get(name)
        return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"

    text = (
        f"{row['texts']:8d} {row['batch']:5d} {row['k']:2d}  {row['system']:24} {cell('ms_per_query', 9, 1)} "
        f"{cell('cpu_ms_per_query', 9, 1)} {cell('forwards_per_query', 9, 1)} {cell('proved_share', 7, 3)} "
        f"{cell('missed_share', 7, 3)} {cell('bytes_per_text', 8, 1)} {cell('build_seconds', 8, 2)}"
    )
    if "step_ms" in row:
        text += f"  a step {row['step_ms']:.3f} ms, of it the constraint {row['constraint_ms']:.3f}"
    return text


def draw(report: dict[str, Any], path: Path) -> None:
    """Milliseconds per query over the size of the trie, a panel per batch size, for the smallest k."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    drawn = [row for row in report["rows"] if row["ms_per_query"] is not None and row["key"] in DRAWN]
    batches = sorted({row["batch"] for row in drawn})
    figure, panels = plt.subplots(1, len(batches), figsize=(4.5 * len(batches), 4), sharey=True, squeeze=False)
    for panel, batch in zip(panels[0], batches, strict=True):
        here = [row for row in drawn if row["batch"] == batch and row["k"] == min(r["k"] for r in drawn)]
        for system in dict.fromkeys(row["system"] for row in here):
            points = [(row["texts"], row["ms_per_query"]) for row in here if row["system"] == system]
            panel.plot(*zip(*points, strict=True), marker="o", label=system)
        panel.set(xscale="log", yscale="log", title=f"batch {batch}", xlabel="texts in the trie")
        panel.grid(visible=True, alpha=0.3)
    panels[0][0].set_ylabel("ms per query")
    panels[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
