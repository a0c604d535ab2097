"""All pairs at once, compared with one pair after the other."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from metamery.analysis.proof.measures import average_ranks, pearson, snr_db, spearman
from metamery.analysis.proof.pairs import BLOCK_BYTES, TILE, RowFile, near_duplicates, pair_matrices, ranks_of

SLOW = {"pearson": pearson, "spearman": spearman, "snr_db": snr_db}


def written(values: torch.Tensor, folder: Path, block_bytes: int = BLOCK_BYTES) -> RowFile:
    rows = RowFile(folder / "rows", block_bytes)
    rows.append(values.numpy())
    return rows


def activations(seed: int, count: int = 9, units: int = 37) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, units, generator=generator)


def awkward() -> torch.Tensor:
    """Ties and dead units, a constant, a silent and a huge row, a row next to another, one far from 0, two equal."""
    values = activations(0, 12).relu()
    values[1] = 2.5
    values[2] = 0
    values[3] *= 1e37
    values[4] = values[5] + 1e-5
    values[6] += 1e3
    values[7] = values[8]
    values[9] *= 1e-37
    return values


@pytest.mark.parametrize(
    "values", [activations(1), awkward(), activations(2, 5, 4000) + 3], ids=["normal", "awkward", "wide"]
)
def test_every_pair_in_both_orders_is_what_the_slow_way_gives(values: torch.Tensor, tmp_path: Path) -> None:
    rows = written(values, tmp_path, block_bytes=600)  # several blocks of rows and of columns
    matrices = {name: matrix.copy() for name, matrix in pair_matrices(rows, tmp_path / "ranks")}
    assert set(matrices) == set(SLOW)
    for name, take in SLOW.items():
        for natural, other in permutations(range(len(values)), 2):
            wanted = float(take(values[other][None], values[natural][None]))
            found = matrices[name][natural, other]
            assert found == pytest.approx(wanted, abs=1e-3 if name == "snr_db" else 1e-6), (name, natural, other)


@pytest.mark.parametrize(
    "values",
    [
        activations(5, 3, 1000),
        activations(6, 3, 1000).relu(),
        activations(7, 3, 1000).round(),
        torch.tensor([[0.0, -0.0, 1e-45, -1e-45, 3e38, -3e38, 1.0, 0.0, -1.0, 1.0]]),
        torch.full((2, 5), -1.5),
        torch.ones(1, 1),
    ],
    ids=["distinct", "half of them 0", "many ties", "extreme", "constant", "one unit"],
)
def test_ranks_are_the_slower_ones(values: torch.Tensor) -> None:
    assert np.array_equal(np.stack([ranks_of(row) for row in values.numpy()]), average_ranks(values).float().numpy())


def test_moments_do_not_depend_on_what_fits_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = written(activations(8, 20, 300), tmp_path)
    matrices = []
    for size in (1, 10**6):
        monkeypatch.setattr("metamery.analysis.proof.pairs.CACHED_BYTES", size)
        matrices.append([matrix.copy() for _, matrix in pair_matrices(rows, tmp_path / f"ranks{size}")])
    assert np.array_equal(*matrices)


def test_more_signals_than_a_tile_has_rows(tmp_path: Path) -> None:
    values = activations(9, 2 * TILE + 3, 20)
    (_, snr), (_, correlations), _ = pair_matrices(written(values, tmp_path), tmp_path / "ranks")
    np.testing.assert_allclose(correlations, np.corrcoef(values.double().numpy()), atol=1e-7)
    noise = (values[:, None] - values).double().square().sum(dim=2)
    wanted = 10 * (values.double().square().sum(dim=1)[:, None] / noise).log10().fill_diagonal_(-torch.inf)
    np.testing.assert_allclose(snr, wanted, atol=1e-4)


def test_the_best_pairs_are_exact(tmp_path: Path) -> None:
    values = activations(3, 40, 500)
    values[7] = values[3] + 1e-4 * activations(4, 1, 500)[0]
    for name, matrix in pair_matrices(written(values, tmp_path), tmp_path / "ranks"):
        np.fill_diagonal(matrix, -np.inf)
        natural, other = np.unravel_index(matrix.argmax(), matrix.shape)
        assert {natural, other} == {3, 7}
        exact = SLOW[name](values[other][None], values[natural][None]).float()
        assert matrix[natural, other] == pytest.approx(float(exact), rel=1e-6)


def test_a_gram_matrix_alone_would_be_off_for_near_identical_signals(tmp_path: Path) -> None:
    values = activations(5, 2, 300)
    values[1] = values[0] + 1e-6
    wanted = float(snr_db(values[1:], values[:1]))
    product = values @ values.T
    distance = product[0, 0] + product[1, 1] - 2 * product[0, 1]
    naive = 10 * float((product[0, 0] / distance.abs().clamp_min(1e-30)).log10())
    assert abs(naive - wanted) > 3
    (ratios,) = (
        matrix for name, matrix in pair_matrices(written(values, tmp_path), tmp_path / "ranks") if name == "snr_db"
    )
    assert ratios[0, 1] == pytest.approx(wanted, abs=1e-4)


def test_equal_rows_are_told_from_those_that_nearly_are(tmp_path: Path) -> None:
    values = activations(7, 3, 300)
    values[1] = values[0]
    values[2] = values[0]
    values[2, 0] += 1e-4
    found = dict(pair_matrices(written(values, tmp_path), tmp_path / "ranks"))
    assert found["pearson"][0, 1] == 1
    assert found["snr_db"][0, 1] == np.inf
    assert np.isfinite(found["snr_db"][0, 2])


def test_near_duplicates_are_found(tmp_path: Path) -> None:
    values = activations(6, 8, 200)
    values[3] = 0.7 * values[1] + 0.1
    values[5] = values[3]
    values[4] = values[6] = 0.5
    values[7] = 0.25
    assert near_duplicates(written(values, tmp_path), 0.99) == [(3, 1), (5, 1), (6, 4)]


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    values = activations(7)
    rows = RowFile(tmp_path / "rows", block_bytes=200)
    for part in values.split(4):
        rows.append(part.numpy())
    assert (rows.count, rows.width) == values.shape
    assert np.array_equal(np.concatenate(list(rows.blocks())), values)
    assert np.array_equal(np.concatenate(list(rows.columns()), axis=1), values)
    assert torch.equal(rows.pick([5, 0]), values[[5, 0]])
