"""Looking every day without fooling oneself: intervals that hold at all times at once.

Asymptotic confidence sequences: for estimates with a standard error that shrinks as data come in, the interval holds
the truth at every look, whenever and however often one looks, with the stated probability (asymptotically). The
p-value goes with it: the smallest level at which zero is outside.

Sources: Robbins, Ann. Math. Stat. 41 (1970), the normal mixture; Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas,
Ann. Stat. 52 (2024), asymptotic confidence sequences; Johari, Koomen, Pekelis & Walsh, Oper. Res. 70 (2022), always
valid p-values from the mixture sequential probability ratio test.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """One look: the interval that holds at all looks, and the p-value for no difference, valid at any time."""

    value: float
    low: float
    high: float
    p_value: float


def look(value: float, error: float, tuning: float, level: float = 0.95) -> Look:
    """The always-valid interval and p-value of an estimate.

    Args:
        error: its standard error now, above 0 (infinite or NaN: nothing is known yet).
        tuning: standard deviation of the mixture, in the value's unit: the size of the differences that one wants to
            find soon. It must not depend on the data.

    With V = error², the mixture's likelihood ratio of `value` against zero is
    sqrt(V / (V + tuning²)) · exp(value² tuning² / (2 V (V + tuning²))); p is its inverse, at most 1.
    """
    if not (math.isfinite(error) and math.isfinite(value)):
        return Look(value, -math.inf, math.inf, 1.0)
    if error == 0:
        return Look(value, value, value, 1.0 if value == 0 else 0.0)
    variance, mixture = error**2, tuning**2
    reach = math.sqrt(
        variance
        * (variance + mixture)
        / mixture
        * (math.log((variance + mixture) / variance) - 2 * math.log(1 - level))
    )
    log_ratio = 0.5 * math.log(variance / (variance + mixture)) + value**2 * mixture / (
        2 * variance * (variance + mixture)
    )
    return Look(value, value - reach, value + reach, math.exp(-max(0.0, log_ratio)))


def best_look(value: float, error: float, tunings: Sequence[float], level: float = 0.95) -> Look:
    """The tightest of several tunings' bounds, each tuning with its part of the error allowed (Bonferroni).

    A single tuning finds differences of other sizes late: with .02 one of .25 whose error is .06 stays hidden.
    """
    parts = [look(value, error, tuning, 1 - (1 - level) / len(tunings)) for tuning in tunings]
    p_value = min(1.0, len(tunings) * min(part.p_value for part in parts))
    return Look(value, max(part.low for part in parts), min(part.high for part in parts), p_value)


def running(looks: list[Look]) -> list[Look]:
    """The same looks, each with what was known best so far: the intersection of intervals, the least p-value."""
    found: list[Look] = []
    low, high, p_value = -math.inf, math.inf, 1.0
    for one in looks:
        low, high, p_value = max(low, one.low), min(high, one.high), min(p_value, one.p_value)
        found.append(Look(one.value, low, high, p_value))
    return found
