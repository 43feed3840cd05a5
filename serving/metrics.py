"""What Prometheus sees: base units, and no label that a user or a text could end up in."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """All metrics of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        of = self.registry
        self.requests = Counter(
            "reprise_requests", "Requests by route and status.", ["method", "route", "status"], registry=of
        )
        self.request_seconds = Histogram(
            "reprise_request_seconds", "Time to answer a request.", ["route"], buckets=SECONDS, registry=of
        )
        self.decisions = Counter(
            "reprise_decisions", "Decisions by reason and source of the rewrite.", ["reason", "source"], registry=of
        )
        self.decision_seconds = Histogram(
            "reprise_decision_seconds",
            "Time to decide, by whether the model ran.",
            ["model"],
            buckets=SECONDS,
            registry=of,
        )
        self.refused = Counter("reprise_refused", "Turns that got no decision, by cause.", ["cause"], registry=of)
        self.shed = Counter(
            "reprise_shed", "Decisions made without the model, as too many were waiting for it.", registry=of
        )
        self.in_flight = Gauge("reprise_decisions_in_flight", "Turns being decided now.", registry=of)
        self.loads = Counter("reprise_bundle_loads", "Bundles opened, by outcome.", ["outcome"], registry=of)
        self.swaps = Counter("reprise_bundle_swaps", "Changes of the bundle in force.", registry=of)
        self.bundle = Gauge("reprise_bundle_in_force", "1 for the bundle in force.", ["bundle"], registry=of)
        self.bundle_age = Gauge(
            "reprise_bundle_in_force_since_seconds", "Unix time since when the bundle is in force.", registry=of
        )
        self.exposures = Counter("reprise_exposure_records", "Exposure records by outcome.", ["outcome"], registry=of)
        self.exposure_failing = Gauge("reprise_exposure_failing", "1 while exposures cannot be recorded.", registry=of)
        self.orders = Gauge("reprise_tombstones", "Users forgotten and texts blocked.", ["kind"], registry=of)
        self.held_out = Counter("reprise_held_out", "Rewrites withheld for the holdout.", registry=of)
        self.feedback = Counter("reprise_feedback", "Feedback received.", registry=of)
        self.worker_deaths = Gauge("reprise_worker_deaths", "Worker processes that died.", registry=of)
        self.workers_ready = Gauge("reprise_workers_ready", "Worker processes able to decide.", registry=of)
        self.ready = Gauge("reprise_ready", "1 while the service is ready.", registry=of)
        self.faults = Counter("reprise_faults", "Errors of ours, answered as problems.", registry=of)
        self.keys_stale = Gauge("reprise_keys_stale", "1 while the key file cannot be read again.", registry=of)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)

    def now_in_force(self, bundle_id: str, since: float) -> None:
        """Note a change of the bundle in force."""
        self.bundle.clear()
        self.bundle.labels(bundle_id).set(1)
        self.bundle_age.set(since)
        self.swaps.inc()
