"""Pages to look at: word importance per utterance, what was picked and why, confusions before and after."""

from collections import Counter
from collections.abc import Sequence
from html import escape

import numpy as np

from jobs.nlu_evaluation import Judged
from selection.influence import Influence, Misreading

FOR, AGAINST = "0,114,178", "213,94,0"
"""Okabe and Ito's blue and vermilion: told apart by every kind of colour vision; a sign and a bar say the same."""

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#111;background:#fff}
.w{display:inline-block;text-align:center;margin:.1rem .15rem;padding:.05rem .3rem;border-radius:.2rem}
.w small{display:block;font-size:.7rem;color:#333}
table{border-collapse:collapse;margin:1rem 0}td,th{border-bottom:1px solid #bbb;padding:.25rem .6rem;text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
@media (prefers-color-scheme:dark){body{color:#eee;background:#161616}.w small{color:#ccc}}
"""


def page(title: str, *sections: str) -> str:
    """A whole page that needs nothing else."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>{''.join(sections)}</html>\n"
    )


def word_importance(words: Sequence[str], values: np.ndarray, caption: str, error: float) -> str:
    """One utterance with its words shaded by attribution; the signed number stands under each word.

    Args:
        values: (T,) signed attributions.
    """
    largest = max(float(np.abs(values).max(initial=0)), 1e-9)
    shown = "".join(_word(word, float(value), largest) for word, value in zip(words, values, strict=True))
    return f"<p>{shown}<br><small>{escape(caption)}; completeness error {100 * error:.2f} %</small></p>"


def _word(word: str, value: float, largest: float) -> str:
    colour = FOR if value >= 0 else AGAINST
    alpha = 0.75 * abs(value) / largest
    sign = "+" if value >= 0 else "−"
    style = f"background:rgba({colour},{alpha:.2f})"
    return f'<span class="w" style="{style}">{escape(word)}<small>{sign}{abs(value):.2f}</small></span>'


def mistakes_section(misreadings: Sequence[Misreading], most: int = 50) -> str:
    """The worst mistakes, explained twice: for the right class and for the class that was said."""
    worst = sorted(misreadings, key=lambda m: (-float(m.blame().sum()), m.text))[:most]
    shown = [
        f"<h3>{escape(m.right)} read as {escape(m.wrong)}</h3>"
        + word_importance(m.words, m.right_attributions, f"for the right class, {m.right}", m.error)
        + word_importance(m.words, m.wrong_attributions, f"for what was said, {m.wrong}", m.error)
        for m in worst
    ]
    return (
        "<h2>Words behind the mistakes</h2><p>Blue with + speaks for the class, vermilion with − against it. "
        f"{len(worst)} of {len(misreadings)} mistakes.</p>{''.join(shown)}"
    )


def influence_section(influence: Influence, most: int = 30) -> str:
    """The word influence table of every frequent confusion."""
    ranked = sorted(influence.mistakes, key=lambda c: (-influence.mistakes[c], c))[:most]
    rows = [
        [right, wrong, str(influence.mistakes[(right, wrong)]), _words(influence.top((right, wrong), 6))]
        for right, wrong in ranked
    ]
    return "<h2>Confusions and the words that misled</h2>" + table(
        ("right class", "said", "mistakes", "words"), rows, numbers=(2,)
    )


def _words(top: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{word} {weight:.2f}" for word, weight in top)


def confusions_section(before: Judged, after: Judged, most: int = 30) -> str:
    """Counts of the confusions before and after, largest change first."""
    counts = [
        Counter((u.intent, r.intent) for u, r in zip(j.rows, j.readings, strict=True) if u.intent != r.intent)
        for j in (before, after)
    ]
    changed = sorted(set(counts[0]) | set(counts[1]), key=lambda c: (-abs(counts[1][c] - counts[0][c]), c))[:most]
    rows = [
        [r, w, str(counts[0][r, w]), str(counts[1][r, w]), f"{counts[1][r, w] - counts[0][r, w]:+d}"]
        for r, w in changed
    ]
    return "<h2>Confusions before and after</h2>" + table(
        ("right class", "said", "before", "after", "change"), rows, numbers=(2, 3, 4)
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """An HTML table; the columns in `numbers` are right-aligned."""

    number = ' class="n"'

    def cells(kind: str, values: Sequence[str]) -> str:
        return "".join(
            f"<{kind}{number if at in numbers else ''}>{escape(value)}</{kind}>" for at, value in enumerate(values)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><tr>{cells('th', header)}</tr>{body}</table>"
