"""Who gets what in an experiment: a stable hash of the user decides, so that nobody is moved back and forth.

Standard library only: the service asks for every turn, the report for every logged one.
"""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Literal

Arm = Literal["holdout", "champion", "challenger"]

FILE = "experiment.json"
"""In the registry: the experiment that `reprise experiment start` writes and the service follows."""


def bucket(unit: str, salt: str) -> float:
    """A number in [0, 1) for a unit (a user id): always the same one, evenly spread, unrelated under another salt."""
    digest = hashlib.sha256(f"{salt}\0{unit}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


@dataclass(frozen=True)
class Experiment:
    """Champion against challenger.

    Attributes:
        salt: names the experiment; another salt draws other users.
        holdout_share: share of users whose turns are never rewritten, drawn with `holdout_salt`.
        ramp: (Unix time s, share) steps of the challenger's share of the other users, by time; empty: none.
        shadow: the challenger decides too, but its decisions are only logged.
    """

    salt: str
    holdout_share: float = 0.02
    holdout_salt: str = "reprise"
    ramp: tuple[tuple[float, float], ...] = ()
    shadow: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError on shares outside [0, 1], or a ramp that goes back in time or takes users away."""
        shares = (self.holdout_share, *(share for _, share in self.ramp))
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError(f"shares of users are in [0, 1]; got {shares}")
        if list(self.ramp) != sorted(self.ramp) or [s for _, s in self.ramp] != sorted(s for _, s in self.ramp):
            raise ValueError(f"a ramp's times and shares must not fall; got {self.ramp}; stop the experiment instead")

    def share(self, at_s: float) -> float:
        """The challenger's share of those not held out, at a Unix time; 0 while it only shadows."""
        reached = [share for since, share in self.ramp if since <= at_s]
        return reached[-1] if reached and not self.shadow else 0.0

    def arm(self, unit: str, at_s: float) -> Arm:
        """What a unit, whatever the service hashes for a user, gets at a Unix time.

        As the ramp rises, units only ever move from champion to challenger.
        """
        if bucket(unit, self.holdout_salt) < self.holdout_share:
            return "holdout"
        return "challenger" if self.challenges(unit, at_s) else "champion"

    def challenges(self, unit: str, at_s: float) -> bool:
        """Whether the challenger decides for a unit that is not held out."""
        return bucket(unit, self.salt) < self.share(at_s)

    def expected(self, at_s: float) -> dict[Arm, float]:
        """Share of users in each arm."""
        rest, share = 1 - self.holdout_share, self.share(at_s)
        return {"holdout": self.holdout_share, "champion": rest * (1 - share), "challenger": rest * share}

    def as_dict(self) -> dict[str, Any]:
        """Plain values; `Experiment.of` takes them back."""
        return asdict(self)

    @staticmethod
    def of(plain: dict[str, Any]) -> "Experiment":
        """From `as_dict`, also after JSON."""
        return Experiment(**{**plain, "ramp": tuple((float(at), float(share)) for at, share in plain.get("ramp", ()))})


def ramp_of(
    started_s: float, shares: tuple[float, ...] = (0.01, 0.05, 0.2, 0.5), step_s: float = 86_400.0
) -> tuple[tuple[float, float], ...]:
    """A ramp that begins at `started_s` and goes one share further every `step_s` seconds."""
    return tuple((started_s + row * step_s, share) for row, share in enumerate(shares))
