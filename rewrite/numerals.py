"""Numbers as they are said, in English: recognisers write them in words where catalogues may have digits."""

import re
from functools import lru_cache

WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand"
)
_ONES, _TENS = WORDS.split()[:20], WORDS.split()[20:28]
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
_ORDINALS |= {"twelve": "twelfth"}
_NUMBER = re.compile(r"(?P<digits>\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?P<end>(?:st|nd|rd|th|s)(?![^\W\d_]))?", re.ASCII)
_DIGIT = re.compile("[0-9]")
_POINT, _COLON = re.compile(r"(?<=[0-9])\.(?=[0-9])"), re.compile(r"(?<=[0-9]):(?=[0-9])")
_CLINGING = ",.;!?"
_LONGEST = 6
"""Digits of the largest number that is said as one; longer ones, as of telephones, are said digit by digit."""


def said(text: str) -> str:
    """`text` with its numbers in words: "by the 60s, 4th of 1996" is "by the sixties, fourth of nineteen ninety six".

    Four digits are said as a year where that is what they are likeliest to be. A text without ASCII digits stays as it
    is.
    """
    return _said(text) if _DIGIT.search(text) else text


@lru_cache(maxsize=200_000)
def _said(text: str) -> str:
    return " ".join(_NUMBER.sub(_word, _COLON.sub(" ", _POINT.sub(" point ", text))).split())


def _word(found: re.Match[str]) -> str:
    words, end = _number(found["digits"].replace(",", "")), found["end"]
    if end == "s":
        last = words[-1]
        words[-1] = last[:-1] + "ies" if last.endswith("y") else last + ("es" if last.endswith(("x", "o")) else "s")
    elif end:
        last = words[-1]
        words[-1] = _ORDINALS.get(last, last[:-1] + "ieth" if last.endswith("y") else last + "th")
    follows = found.string[found.end() : found.end() + 1]
    return f" {' '.join(words)}{'' if follows in _CLINGING else ' '}"


def _number(digits: str) -> list[str]:
    if len(digits) > _LONGEST or (digits[0] == "0" and len(digits) > 1):
        return [_ONES[int(digit)] for digit in digits]
    value = int(digits)
    if 1100 <= value < 2000 or 2010 <= value < 2100:
        return _year(value // 100, value % 100)
    return _cardinal(value)


def _year(century: int, year: int) -> list[str]:
    if not year:
        return [*_cardinal(century), "hundred"]
    return [*_cardinal(century), *(["oh"] if year < 10 else []), *_cardinal(year)]


def _cardinal(value: int) -> list[str]:
    if value < 20:
        return [_ONES[value]]
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if value >= size:
            rest = value % size
            return [*_cardinal(value // size), name, *(_cardinal(rest) if rest else [])]
    return [_TENS[value // 10 - 2], *([_ONES[value % 10]] if value % 10 else [])]
