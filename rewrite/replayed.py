"""Run a step of fixed shape again and again without the host in the way."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

_LOG = logging.getLogger(__name__)


class Replayed:
    """A function that only changes tensors in place, always the same ones.

    On CUDA its first call runs as it is, which sets up what libraries set up once; the second records a graph; from
    then on the graph is replayed, at one launch a call instead of a few hundred. Elsewhere it is called.
    """

    def __init__(self, function: Callable[[], None], device: torch.device) -> None:
        self._function, self._records = function, device.type == "cuda"
        self._warm = False
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        if self._records and self._warm and self._graph is None:
            self._record()
        if self._graph is None:
            self._function()
            self._warm = True
        else:
            self._graph.replay()

    def _record(self) -> None:
        """Recording runs nothing, so that after a failure the function can be called as before."""
        graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(side):
                # Other threads of a server may use the device meanwhile.
                graph.capture_begin(capture_error_mode="thread_local")
                try:
                    self._function()
                finally:
                    graph.capture_end()
        except RuntimeError as error:
            _LOG.warning("the search step is run without a CUDA graph, which is slower: %s", error)
            self._records = False
        else:
            self._graph = graph
        torch.cuda.current_stream().wait_stream(side)


class Watch:
    """Tells late whether a flag on the device is set, so that the device never waits for the host.

    A look sends the flag to the host and answers what the look before was sent: the work between two looks is queued
    while the host waits for the earlier answer.
    """

    def __init__(self, flag: Tensor) -> None:
        self._flag, self._looks = flag, 0
        self._host = torch.ones(2, dtype=torch.bool, pin_memory=flag.is_cuda)
        self._seen = self._host.numpy()
        self._sent = [torch.cuda.Event() for _ in range(2)] if flag.is_cuda else []  # type: ignore[no-untyped-call]

    def look(self) -> bool:
        """Whether the flag [] was set one look ago; true at the first."""
        slot, before = self._looks % 2, (self._looks + 1) % 2
        self._host[slot].copy_(self._flag, non_blocking=True)
        if self._sent:
            self._sent[slot].record()
            if self._looks:
                self._sent[before].synchronize()
        self._looks += 1
        return bool(self._seen[before])
