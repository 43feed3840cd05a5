"""Who is held out: a stable hash of the user, so that the same user is always treated the same way."""

from rewrite.assignment import bucket
from rewrite.text import normalise
from rewrite.turn import Turn


def is_held_out(turn: Turn, share: float, salt: str) -> bool:
    """Whether a turn's user is among the held-out `share` of users, in [0, 1); another salt draws other users."""
    return bucket(unit_of(turn), salt) < share


def unit_of(turn: Turn) -> str:
    """What is drawn: the user; of turns without one, what they ask for."""
    return turn.user_id if turn.user_id is not None else f"text\0{normalise(turn.utterance)}"


def propensity(rewrites: bool, held: bool, share: float) -> float:
    """Probability that a turn like this one is treated as it was: chance enters only where there is a rewrite."""
    if not rewrites:
        return 1.0
    return share if held else 1.0 - share
