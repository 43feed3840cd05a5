"""Steps run again and again, and flags that are looked at late."""

import pytest
import torch

from rewrite.replayed import Replayed, Watch


def test_without_cuda_the_function_is_called_each_time() -> None:
    value = torch.zeros(())
    step = Replayed(lambda: value.add_(1).clamp_(max=3) and None, torch.device("cpu"))
    for _ in range(5):
        step()
    assert value.item() == 3


def test_a_look_answers_what_the_look_before_was_sent() -> None:
    flag = torch.tensor(True)
    watch = Watch(flag)
    assert watch.look()
    flag.fill_(False)
    assert watch.look()
    assert not watch.look()
    flag.fill_(True)
    assert not watch.look()
    assert watch.look()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_a_graph_is_replayed_after_two_calls() -> None:
    value, calls = torch.zeros((), device="cuda"), []

    def add() -> None:
        calls.append(1)
        value.add_(1)

    step = Replayed(add, value.device)
    for _ in range(6):
        step()
    assert value.item() == 6
    assert len(calls) == 2  # once run, once recorded
