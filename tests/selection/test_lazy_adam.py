"""Adam of the rows met, against torch's own."""

import torch

from selection.lazy_adam import LazyAdam


def test_it_moves_as_sparse_adam_does() -> None:
    generator = torch.Generator().manual_seed(0)
    mine = torch.nn.Parameter(torch.randn((50, 4), generator=generator))
    other = torch.nn.Parameter(mine.detach().clone())
    lazy = LazyAdam([mine], 0.1, (0.9, 0.98))
    sparse = torch.optim.SparseAdam([other], lr=0.1, betas=(0.9, 0.98))
    for _ in range(20):
        rows = torch.randint(0, 40, (1, 30), generator=generator)
        values = torch.randn((30, 4), generator=generator)
        for table, optimizer in ((mine, lazy), (other, sparse)):
            table.grad = torch.sparse_coo_tensor(rows, values, table.shape, check_invariants=True)
            optimizer.step()
    assert torch.allclose(mine, other, atol=1e-5)


def test_rows_that_no_batch_met_stand_still() -> None:
    table = torch.nn.Parameter(torch.ones((3, 2)))
    table.grad = torch.sparse_coo_tensor([[1]], [[1.0, -1.0]], (3, 2), check_invariants=True)
    LazyAdam([table], 0.5, (0.9, 0.98)).step()
    assert torch.allclose(table, torch.tensor([[1.0, 1.0], [0.5, 1.5], [1.0, 1.0]]))
