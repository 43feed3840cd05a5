"""How long one turn takes, as it was seen lately."""

from dataclasses import dataclass, field


@dataclass
class Pace:
    """A moving mean, seconds a turn."""

    seconds: float = 0.0
    _seen: int = field(default=0, repr=False)

    def note(self, seconds: float, turns: int) -> None:
        """Learn from one forward."""
        self._seen += 1
        share = max(0.2, 1 / self._seen)
        self.seconds += share * (seconds / turns - self.seconds)
