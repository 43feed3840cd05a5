"""Everything that mining can be told, in one frozen object."""

import dataclasses
from dataclasses import dataclass

STATES = ("text", "reading")
SCRUBS = ("email", "number")
"""What can be taken out of texts by its form; names are listed in a file."""


@dataclass(frozen=True)
class MineConfig:
    """Settings of one mining run; every one is part of the run's identity."""

    min_users: int = 5
    """Distinct users with whom a text must have succeeded before it is global."""
    min_days: int = 2
    """Distinct UTC days on which it must have succeeded."""
    pair_users: int = 2
    """Distinct users that must have made a reformulation before anybody else may be given it."""
    pair_days: int = 2
    """Distinct UTC days on which they must have made it."""
    session_gap_s: float = 1800.0
    """Silence that ends a session, seconds."""
    followup_gap_s: float = 300.0
    """Longest gap to a turn that still says something about the one before, seconds."""
    pair_gap_s: float = 90.0
    """Longest gap between a request and its reformulation, seconds."""
    max_turns_per_user_day: int = 200
    """Turns of one user and day that count as evidence; later ones stay in `turns` and count for nothing."""
    max_user_votes: int = 5
    """Days of one user, the newest, that count for one text: the ceiling on anybody's share of the evidence."""
    burst_users: int = 5
    """Users from which a reformulation that all of them made on one single day is a burst, and not believed."""
    unshared_pairs: int = 20
    """Reformulations of one user, none made by anybody else, from which the user is listed among the suspects."""
    scrub: tuple[str, ...] = ()
    """What is taken out of texts: email, number; such texts never enter a space."""
    user_key_id: str = ""
    """Names the key of the users' pseudonyms without giving it away; empty: user ids stay as they are."""
    forgotten_id: str = ""
    """SHA-256 of the list of forgotten users and names; empty where there is none."""
    kinds_id: str = ""
    """SHA-256 of the trained model of follow-ups; empty: rules decide of what kind each one is."""
    defects_id: str = ""
    """SHA-256 of the defect model; empty: one is fitted to the log itself, without labels."""
    bad_share: float = 0.05
    """Share of quarantined rows above which the run fails."""
    holdback: float = 0.25
    """Share of the window's days, the newest, that `past/` does not see; 0 writes no `past/`."""
    states: str = "text"
    """What the Markov chain walks over: text, or reading (texts that the NLU reads alike are one state)."""
    chain_steps: int = 5
    """Longest path through the Markov chain, in reformulations."""
    chain_min_reach: float = 0.01
    """Reach below which a path is no longer followed."""
    chain_min_success: float = 0.5
    """Success below which a text is nobody's way out."""
    targets_per_source: int = 10
    """Rewrites kept for one source, the best by worth."""
    personal_shards: int = 16
    """Shards of the personal store."""
    rows_per_file: int = 40_000
    """Turns in one parquet file, about; smaller tables use fewer files in the same proportion."""
    fit_turns: int = 400_000
    """Turns that the defect model is fitted on, about: users are sampled by hash."""

    def __post_init__(self) -> None:
        """Raise ValueError on a value outside its range."""
        for name in (
            "min_users",
            "min_days",
            "pair_users",
            "pair_days",
            "chain_steps",
            "targets_per_source",
            "personal_shards",
            "max_user_votes",
            "burst_users",
            "unshared_pairs",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.states not in STATES:
            raise ValueError(f"states is {self.states!r}; expected one of {', '.join(STATES)}")
        for name in ("bad_share", "holdback", "chain_min_reach", "chain_min_success"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a share in [0, 1)")
        for name in (
            "session_gap_s",
            "followup_gap_s",
            "pair_gap_s",
            "max_turns_per_user_day",
            "rows_per_file",
            "fit_turns",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected more than 0")

    def as_dict(self) -> dict[str, object]:
        """Plain values for the manifest."""
        return {**dataclasses.asdict(self), "scrub": list(self.scrub)}
