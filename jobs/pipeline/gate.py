"""A gate: one value, one threshold, one verdict. Pure; what is measured comes from elsewhere."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

GROUPS = ("data", "quality", "safety", "cost")


@dataclass(frozen=True)
class Gate:
    """Holds where `value` is at most (or at least) `threshold`; a value of None could not be measured: `note` says why.

    A gate that could not be measured lets pass only where `optional`.
    """

    group: Literal["data", "quality", "safety", "cost"]
    name: str
    value: float | None
    threshold: float
    bound: Literal["at most", "at least"] = "at most"
    note: str = ""
    optional: bool = False
    limit: str = ""
    """Name of its threshold in the file of `--gates`; empty where the threshold is fixed."""

    @property
    def verdict(self) -> Literal["pass", "fail", "not measured"]:
        """`not measured` only where that is allowed; a NaN never passes."""
        if self.value is None:
            return "not measured" if self.optional else "fail"
        if math.isnan(self.value):
            return "fail"
        held = self.value <= self.threshold if self.bound == "at most" else self.value >= self.threshold
        return "pass" if held else "fail"

    def why(self) -> str:
        """One line: what was measured, and what is allowed or needed."""
        value = "not measured" if self.value is None else f"{self.value:.4g}"
        note = f" ({self.note})" if self.note else ""
        wanted = "allowed" if self.bound == "at most" else "needed"
        return f"{self.group}: {self.name} is {value}, {self.bound} {self.threshold:.4g} is {wanted}{note}"

    def as_dict(self) -> dict[str, Any]:
        """For reports; NaN becomes None, which JSON has."""
        plain = asdict(self)
        value = None if self.value is None or math.isnan(self.value) else round(self.value, 6)
        return {**plain, "value": value, "verdict": self.verdict}


def failing(gates: Sequence[Gate]) -> list[Gate]:
    """The gates that do not hold."""
    return [gate for gate in gates if gate.verdict == "fail"]
