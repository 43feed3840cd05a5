"""What a failed turn wanted, as far as the turns after it tell."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

from rapidfuzz import fuzz

from jobs.ties import went_well_before
from rewrite.judged import Want
from rewrite.spaces import Knowledge
from rewrite.text import normalise
from rewrite.ties import APART, Ties, tie
from rewrite.turn import Turn

FOLLOW_UPS = 3
FOLLOW_UP_GAP_S = 60.0
LEAST_RATIO = 40.0
"""A follow-up tells what a failed turn wanted if it succeeded, within three turns and a minute of each other, and
resembles it.
"""


class FollowUps:
    """Turns in order of user and time, with the texts that the assistant acted on, and how each went."""

    def __init__(
        self,
        logged: Sequence[Turn],
        acted: Sequence[str],
        fails: Sequence[bool],
        knowledge: Knowledge,
        ties: Ties | None,
    ) -> None:
        self._logged, self._acted, self._fails = logged, acted, fails
        self._sequels = knowledge.sequels
        self._mined = {(source, pair.target) for source, pairs in knowledge.look_up.items() for pair in pairs}
        self._text_leans = cache(ties.lean if ties is not None else lambda text: False)

    def leans(self, row: int) -> bool:
        """Whether what the turn wanted hangs on what the session said before it."""
        return self._text_leans(self._text(row))

    def want(self, row: int) -> Want | None:
        """What the failed turn wanted: the first success after it that mining found to belong to it, or that has the
        intent which users of this text agree on, or, where they do not, that resembles it; where it leans on the
        session, rather the first that is tied to what went well before it.
        """
        tied = self._tied_to_session(row) if self.leans(row) else None
        return tied or self._like_the_text(row)

    def _like_the_text(self, row: int) -> Want | None:
        text = self._text(row)
        agreed = self._sequels.agreed(text)
        for want in self._successes(row):
            like = fuzz.ratio(text, want.text) > LEAST_RATIO if agreed is None else want.reading.intent == agreed
            if like or (text, want.text) in self._mined:
                return want if self.leans(row) else replace(want, heard=text)
        return None

    def _tied_to_session(self, row: int) -> Want | None:
        earlier = went_well_before(self._logged, self._acted, self._fails, row)
        return next(
            (want for want in self._successes(row) if tie((want.text, want.reading), earlier).kind != APART), None
        )

    def _successes(self, row: int) -> Iterator[Want]:
        for later in range(row + 1, min(row + 1 + FOLLOW_UPS, len(self._logged))):
            turn = self._logged[later]
            if turn.user_id != self._logged[row].user_id or turn.gap_s is None or turn.gap_s > FOLLOW_UP_GAP_S:
                return
            if not self._fails[later] and self._acted[later] != self._text(row):
                yield Want(self._acted[later], turn.reading)

    def _text(self, row: int) -> str:
        return normalise(self._logged[row].utterance)
