"""Settings of the service, validated once and passed in."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ServeConfig:
    """How the service runs. Exactly one of `registry` and `bundle` is set.

    Attributes:
        registry: folder whose champion is served, and followed when it moves.
        bundle: a single bundle to serve instead.
        state: folder of the tombstone log and the exposure log; one running service per folder.
        keys: file of hashed keys; without it the service listens on loopback only and needs none, except for the
            admin routes, which then stay shut.
        holdout_share: share of users whose turns are never rewritten, in [0, 1); `holdout_salt` says which.
        deadline_ms: of a request that names none; max_deadline_ms: the longest one may name.
        model_wait_ms: longest that a turn waits, from when it came, until the generator begins with it; where it were
            longer, the cheap trees decide at once. 0: it waits as long as its deadline allows.
        places: turns that may be in the works at once; beyond that they are refused.
        workers: processes that decide; 0 decides in the service's own process. threads: of the model, per process.
        model_batch: turns that share a forward. precision: of the model's weights, `fp32` or `bf16`.
        device: `auto`, `cpu` or `cuda`.
        watch_s: how often aliases and keys are looked at. fsync_s: how often exposures are forced to disk; 0 every one.
        rotate_bytes, rotate_s: when an exposure file is closed and the next one begun.
        grace_s: from SIGTERM until no new connection is taken.
        max_body_bytes: of a request. body_timeout_s: to receive it.
        users_cached: users whose texts are kept decoded. scores_cached: model scores kept, per process.
        max_connections: beyond which new ones are answered 503.
        trace: send OpenTelemetry spans, if its package is installed.
    """

    registry: Path | None = None
    bundle: Path | None = None
    state: Path = Path("serve-state")
    host: str = "127.0.0.1"
    port: int = 8080
    keys: Path | None = None
    holdout_share: float = 0.02
    holdout_salt: str = "reprise"
    deadline_ms: float = 250.0
    max_deadline_ms: float = 10_000.0
    model_wait_ms: float = 40.0
    places: int = 64
    workers: int = 1
    threads: int = 1
    model_batch: int = 8
    precision: str = "fp32"
    device: str = "auto"
    watch_s: float = 1.0
    fsync_s: float = 1.0
    rotate_bytes: int = 64 * 2**20
    rotate_s: float = 3600.0
    grace_s: float = 5.0
    max_body_bytes: int = 512 * 1024
    body_timeout_s: float = 10.0
    max_connections: int = 512
    users_cached: int = 2000
    scores_cached: int = 200_000
    trace: bool = False

    def __post_init__(self) -> None:
        if (self.registry is None) == (self.bundle is None):
            raise ValueError(
                f"serve needs one of --registry and --bundle; got registry {self.registry} and bundle {self.bundle}"
            )
        if not 0 <= self.holdout_share < 1:
            raise ValueError(f"the holdout is a share of users; got {self.holdout_share}; expected 0 to below 1")
        if self.precision not in ("fp32", "bf16"):
            raise ValueError(f"no such precision; got {self.precision!r}; expected fp32 or bf16")
        if self.device.split(":")[0] not in ("auto", "cpu", "cuda"):
            raise ValueError(f"no such device; got {self.device!r}; expected auto, cpu or cuda")
        if min(self.places, self.model_batch, self.threads, self.max_body_bytes) < 1 or self.workers < 0:
            raise ValueError("places, model batch, threads and body size must be at least 1, workers at least 0")
        if not self.model_wait_ms >= 0:
            raise ValueError(f"the wait for the model is 0 ms or more; got {self.model_wait_ms}")
        if not 0 < self.deadline_ms <= self.max_deadline_ms:
            raise ValueError(f"the deadline must be in (0, {self.max_deadline_ms}] ms; got {self.deadline_ms}")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
