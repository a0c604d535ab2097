"""CKA and RSA: closed forms, invariances, slow reference versions, other implementations, and bounded memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pytest
import torch
from inputs import PEAK_MEMORY, on_linux
from metamery.analysis.similarity import streaming
from metamery.analysis.similarity.ceilings import ceiling_bounds
from metamery.analysis.similarity.cka import CKA, linear_kernels, rbf_kernels
from metamery.analysis.similarity.comparison import MEASURES, bootstrap, draw_stimuli, similarity_of
from metamery.analysis.similarity.rsa import CORRELATIONS, DISTANCES, RSA
from metamery.analysis.similarity.streaming import GIB, Gram, inner_products, pairwise, plan
from metamery.framework import MetameryError
from numpy.typing import NDArray
from peers import peer
from scipy.spatial.distance import pdist
from scipy.stats import kendalltau, pearsonr, spearmanr

K = 14
BIASED = [name for name in MEASURES if name.startswith("biased")]
ROTATED = [name for name in MEASURES if "rsa_correlation" not in name]  # whose centring knows the units' axes


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def related(seed: int = 0) -> list[torch.Tensor]:
    """Three representations of the same stimuli, wide, narrow and of maps, that have something in common."""
    common = drawn(K, 6, seed=seed)
    return [
        common @ drawn(6, width, seed=seed + number) + 0.7 * drawn(K, width, seed=seed + 10 + number) + 0.4
        for number, width in enumerate((30, 8, 50), start=1)
    ]


def between(measure: str, one: torch.Tensor, other: torch.Tensor) -> float:
    return float(similarity_of([Gram.of(one), Gram.of(other)], measure).matrix()[0, 1])


def orthogonal(size: int) -> torch.Tensor:
    return torch.linalg.qr(drawn(size, size, seed=99)).Q


# Closed forms and slow twins


def hsic_1(kernel: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Song et al. (2012), equation 5, term by term."""
    k, l = (matrix - np.diag(np.diag(matrix)) for matrix in (kernel, other))  # noqa: E741
    n, one = len(k), np.ones(len(k))
    terms = np.trace(k @ l), (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2)), 2 / (n - 2) * (one @ k @ l @ one)
    return float((terms[0] + terms[1] - terms[2]) / (n * (n - 3)))


def rbf(activations: torch.Tensor, bandwidth: float) -> NDArray[np.float64]:
    distances = torch.cdist(activations, activations, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    width = bandwidth * np.median(pdist(activations.numpy()))
    return np.exp(-(distances**2) / (2 * width**2))


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_debiased_cka_is_the_ratio_of_the_unbiased_estimators(kernel: str) -> None:
    given = related()
    kernels = [(x @ x.T).numpy() if kernel == "linear" else rbf(x, 0.8) for x in given]
    expected = [[hsic_1(a, b) / np.sqrt(hsic_1(a, a) * hsic_1(b, b)) for b in kernels] for a in kernels]
    found = similarity_of([Gram.of(x) for x in given], f"cka_{kernel}").matrix()
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert found[0, 1] < 0.95


def test_biased_cka_is_the_formula_of_features() -> None:
    one, other, _ = related()
    x, y = one - one.mean(dim=0), other - other.mean(dim=0)
    norm = torch.linalg.matrix_norm
    expected = norm(x.T @ y) ** 2 / (norm(x.T @ x) * norm(y.T @ y))  # Kornblith et al. 2019, equation 4
    assert between("biased_cka_linear", one, other) == pytest.approx(float(expected), rel=1e-10)


def test_the_bandwidth_is_a_fraction_of_the_median_distance() -> None:
    for count in (K, K - 1):  # an odd and an even number of pairs
        given = related()[0][:count]
        for bandwidth in (0.2, 0.8):
            np.testing.assert_allclose(rbf_kernels([Gram.of(given)], bandwidth)[0], rbf(given, bandwidth), rtol=1e-9)
    narrow, wide = (between_rbf(bandwidth) for bandwidth in (0.2, 50))
    linear = between("cka_linear", *related()[:2])
    assert wide == pytest.approx(linear, abs=1e-3)  # a wide kernel sees what the linear one sees
    assert abs(narrow - linear) > 0.02


def between_rbf(bandwidth: float) -> float:
    return float(CKA(rbf_kernels([Gram.of(x) for x in related()[:2]], bandwidth)).matrix()[0, 1])


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_rsa_is_scipy_s_correlation_of_scipy_s_distances(distance: str, correlation: str) -> None:
    metric = {"squared_euclidean": "sqeuclidean"}.get(distance, distance)
    given = related()
    distances = [pdist(x.numpy(), metric) for x in given]
    take = {"pearson": pearsonr, "spearman": spearmanr, "kendall": kendalltau}[correlation]  # without ties τ-a is τ-b
    expected = [[take(a, b).statistic for b in distances] for a in distances]
    found = similarity_of([Gram.of(x) for x in given], f"rsa_{distance}_{correlation}").matrix()
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_ties_count_as_neither_in_kendall_and_take_average_ranks_in_spearman() -> None:
    one, other = [1.0, 1, 2, 3, 3, 4], [1.0, 2, 2, 2, 4, 3]
    given = torch.tensor([one, other], dtype=torch.float64)
    pairs = list(combinations(range(6), 2))
    signs = [np.sign(one[i] - one[j]) * np.sign(other[i] - other[j]) for i, j in pairs]
    matrix = RSA(given, "kendall").matrix()
    assert float(matrix[0, 1]) == pytest.approx(sum(signs) / len(pairs))
    assert float(matrix[0, 0]) == pytest.approx(13 / 15)  # two of its own 15 couples are tied
    assert float(RSA(given, "spearman").matrix()[0, 1]) == pytest.approx(spearmanr(one, other).statistic)


# Invariances


@pytest.mark.parametrize("measure", ROTATED)
def test_rotation_and_isotropic_scaling_change_nothing(measure: str) -> None:
    one, other, _ = related()
    turned = 3.7 * one @ orthogonal(30)
    assert between(measure, turned, other) == pytest.approx(between(measure, one, other), abs=1e-9)
    same = between(measure, turned, one)
    assert same == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("measure", MEASURES)
def test_permuted_units_and_scaling_change_nothing(measure: str) -> None:
    one, other, _ = related()
    moved = 0.2 * one[:, torch.randperm(30, generator=torch.Generator().manual_seed(0))]
    assert between(measure, moved, other) == pytest.approx(between(measure, one, other), abs=1e-9)


@pytest.mark.parametrize("measure", [name for name in MEASURES if "cosine" not in name and "correlation" not in name])
def test_a_common_offset_changes_nothing(measure: str) -> None:
    one, other, _ = related()
    assert between(measure, one + drawn(30, seed=5), other) == pytest.approx(between(measure, one, other), abs=1e-9)


@pytest.mark.parametrize("measure", MEASURES)
def test_an_arbitrary_linear_map_does_change_it(measure: str) -> None:
    one, _, _ = related()
    stretched = one @ torch.diag(torch.logspace(-1, 1.5, 30, dtype=torch.float64))
    assert between(measure, stretched, one) < 0.99


def test_correlation_distance_is_blind_to_each_activation_s_mean_and_scale() -> None:
    one, other, _ = related()
    moved = one * torch.linspace(0.1, 3, K)[:, None] + torch.linspace(-9, 9, K)[:, None]
    for correlation in CORRELATIONS:
        name = f"rsa_correlation_{correlation}"
        assert between(name, moved, other) == pytest.approx(between(name, one, other), abs=1e-9)


def test_unrelated_activations_are_unlike_only_if_debiased() -> None:
    one, other = drawn(20, 2000, seed=1), drawn(20, 2000, seed=2)
    assert between("biased_cka_linear", one, other) > 0.9
    assert abs(between("cka_linear", one, other)) < 0.25
    found = [between("cka_linear", drawn(20, 50, seed=2 * n), drawn(20, 50, seed=2 * n + 1)) for n in range(60)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(60)


def test_constant_representations_are_like_nothing() -> None:
    one, constant = related()[0], torch.full((K, 9), 0.1, dtype=torch.float32)
    for measure in MEASURES:
        found = similarity_of([Gram.of(one), Gram.of(constant), Gram.of(torch.zeros(K, 3))], measure).matrix()
        assert float(found[0, 0]) == pytest.approx(1)
        assert found[[0, 0, 1, 2], [1, 2, 2, 2]].isnan().all(), measure


def test_one_constant_activation_is_at_distance_one() -> None:
    given = related()[0].clone()
    given[3] = 0.1
    found = DISTANCES["correlation"](Gram.of(given))
    assert found[3].tolist() == [1.0] * 3 + [0.0] + [1.0] * (K - 4)
    given[3] = 0
    assert DISTANCES["cosine"](Gram.of(given))[3, 5] == 1


# Other people's implementations

METHODS = {"pearson": "corr", "spearman": "spearman", "kendall": "tau-a"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("distance", ["euclidean", "correlation"])
def test_rsa_agrees_with_rsatoolbox(distance: str) -> None:
    peer("rsatoolbox")
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm
    from rsatoolbox.rdm import compare as theirs_compared

    given = related()
    theirs = [calc_rdm(Dataset(x.numpy()), method=distance) for x in given]
    name = {"euclidean": "squared_euclidean"}.get(distance, distance)  # theirs are squared, over the number of units
    inners = [Gram.of(x) for x in given]
    for inner, rdm in zip(inners, theirs, strict=True):
        ours = pairwise(DISTANCES[name](inner)).numpy()
        np.testing.assert_allclose(ours, rdm.dissimilarities[0] * (inner.units if distance == "euclidean" else 1))
    for correlation, method in METHODS.items():
        found = similarity_of(inners, f"rsa_{name}_{correlation}").matrix()
        expected = [[theirs_compared(a, b, method)[0, 0] for b in theirs] for a in theirs]
        np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_noise_ceilings_agree_with_rsatoolbox(correlation: str) -> None:
    peer("rsatoolbox")
    from rsatoolbox.inference.noise_ceiling import boot_noise_ceiling
    from rsatoolbox.rdm import RDMs

    given = repeated()
    expected = boot_noise_ceiling(RDMs(given.numpy()), method=METHODS[correlation])
    np.testing.assert_allclose(RSA(given, correlation).ceiling(), expected, atol=1e-9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("debiased", [True, False])
def test_cka_agrees_with_ckatorch(debiased: bool) -> None:
    ckatorch = peer("ckatorch")
    one, other, _ = related()
    found = between("cka_linear" if debiased else "biased_cka_linear", one, other)
    assert found == pytest.approx(float(ckatorch.cka_base(one, other, unbiased=debiased)), rel=1e-9)
    if debiased:
        assert found == pytest.approx(float(ckatorch.cka_batch(one[None], other[None])), rel=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_hsic_agrees_with_pytorch_cka() -> None:
    hsic = peer("cka.hsic")
    inners = [Gram.of(x) for x in related()]
    for kernels in (linear_kernels(inners), rbf_kernels(inners)):
        between, one, other = hsic.hsic(kernels, kernels)
        torch.testing.assert_close(CKA(kernels).matrix(), between / torch.outer(one, other).sqrt())


# Noise ceilings


def repeated() -> torch.Tensor:
    """Distances of five repetitions ``(5, M)``, without ties."""
    return (2 + drawn(1, 91, seed=3) + 0.8 * drawn(5, 91, seed=4)).abs()


def test_the_ceiling_is_the_mean_correlation_with_the_mean() -> None:
    given = repeated()
    scores = ((given - given.mean(dim=1, keepdim=True)) / given.std(dim=1, keepdim=True)).numpy()
    upper = np.mean([pearsonr(own, scores.mean(axis=0)).statistic for own in scores])
    others = [np.delete(scores, place, axis=0).mean(axis=0) for place in range(5)]
    lower = np.mean([pearsonr(own, rest).statistic for own, rest in zip(scores, others, strict=True)])
    np.testing.assert_allclose(RSA(given, "pearson").ceiling(), [lower, upper], rtol=1e-10)


@pytest.mark.parametrize("measure", ["cka_linear", "cka_rbf", *(f"rsa_euclidean_{each}" for each in CORRELATIONS)])
def test_ceilings_are_in_order_and_one_without_noise(measure: str) -> None:
    base = drawn(K, 20)
    noisy = [Gram.of(base + 0.6 * drawn(K, 20, seed=seed)) for seed in range(1, 6)]
    lower, upper = similarity_of(noisy, measure).ceiling()
    assert lower < upper < 1
    if not measure.endswith(("spearman", "kendall")):  # the others' pooled ranks are the best only nearly
        truth = [float(similarity_of([own, Gram.of(base)], measure).matrix()[0, 1]) for own in noisy]
        assert np.mean(truth) <= upper
    assert similarity_of(noisy[:1] * 3, measure).ceiling() == pytest.approx((1, 1))
    assert np.isnan(similarity_of(noisy[:1], measure).ceiling()).all()
    assert np.isnan(ceiling_bounds(torch.eye(1))).all()


# Bootstrap


def expanded(counts: torch.Tensor) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Which stimulus each of the drawn ones is, and which of their pairs are not of one stimulus with itself."""
    places = np.repeat(np.arange(len(counts)), counts.numpy())
    return places, places[:, None] != places


COUNTS = torch.tensor([2, 0, 1, 1, 3, 0, 1, 1, 0, 2, 1, 1, 0, 1])


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_weighted_rsa_is_that_of_the_sample_written_out(correlation: str) -> None:
    places, distinct = expanded(COUNTS)
    one, other = (torch.cdist(x, x).numpy()[places][:, places] for x in related()[:2])
    rows, columns = np.nonzero(np.triu(distinct))
    a, b = one[rows, columns], other[rows, columns]
    if correlation == "kendall":
        labels = [tuple(sorted((places[i], places[j]))) for i, j in zip(rows, columns, strict=True)]
        couples = [(i, j) for i, j in combinations(range(len(a)), 2) if labels[i] != labels[j]]
        expected = np.mean([np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in couples])
    else:
        expected = {"pearson": pearsonr, "spearman": spearmanr}[correlation](a, b).statistic
    comparison = similarity_of([Gram.of(x) for x in related()[:2]], f"rsa_euclidean_{correlation}")
    found = comparison.matrix(COUNTS)
    assert float(found[0, 1]) == pytest.approx(float(expected), abs=1e-6)
    assert float(found[0, 0]) == pytest.approx(1)


@pytest.mark.parametrize("debiased", [True, False])
def test_weighted_cka_is_that_of_the_sample_written_out(debiased: bool) -> None:
    places, distinct = expanded(COUNTS)
    kernels = [(x @ x.T).numpy()[places][:, places] for x in related()[:2]]
    used = np.nonzero(distinct if debiased else np.ones_like(distinct))
    design = np.zeros((len(used[0]), len(places)))
    for row, pair in enumerate(zip(*used, strict=True)):
        for stimulus in pair:
            design[row, stimulus] += 1
    a, b = (k[used] - design @ np.linalg.lstsq(design, k[used], rcond=None)[0] for k in kernels)
    expected = a @ b / np.sqrt((a @ a) * (b @ b))
    comparison = similarity_of([Gram.of(x) for x in related()[:2]], "cka_linear" if debiased else "biased_cka_linear")
    assert float(comparison.matrix(COUNTS)[0, 1]) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("measure", MEASURES)
def test_each_stimulus_once_is_no_weight_and_twice_is_the_same(measure: str) -> None:
    comparison = similarity_of([Gram.of(x) for x in related()], measure)
    plain = comparison.matrix()
    torch.testing.assert_close(comparison.matrix(torch.ones(K)), plain)
    if not measure.startswith("cka"):  # whose pairs of copies are as many more as the diagonal is
        torch.testing.assert_close(comparison.matrix(torch.full((K,), 2.0)), plain)


@pytest.mark.parametrize("debiased", [True, False])
def test_blocks_of_rows_add_up(debiased: bool) -> None:
    kernels = linear_kernels([Gram.of(x) for x in related()])
    whole = CKA(kernels, debiased).matrix(COUNTS)
    parts = CKA(kernels, debiased, block_bytes=16 * 3 * K * 4).matrix(COUNTS)  # four rows at once
    torch.testing.assert_close(parts, whole)


def test_draws_come_from_the_generator_alone_and_are_usable() -> None:
    first, again, other = (draw_stimuli(12, 50, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (first.sum(dim=1) == 12).all()
    many = draw_stimuli(10, 3000, torch.Generator().manual_seed(0))
    assert ((many > 0).sum(dim=1) >= 5).all()
    assert (many.amax(dim=1) < 5).all()
    assert many.double().mean(dim=0).numpy() == pytest.approx(np.ones(10), abs=0.1)
    with pytest.raises(MetameryError, match="a bootstrap over 9 stimuli, expected at least 10"):
        draw_stimuli(9, 5, torch.Generator())


@pytest.mark.parametrize("measure", ["cka_linear", "rsa_euclidean_pearson", "rsa_euclidean_spearman"])
def test_intervals_are_about_as_wide_as_the_spread_over_samples(measure: str) -> None:
    common, weight = drawn(6, 12, seed=1), drawn(6, 9, seed=2)

    def sample(seed: int) -> list[Gram]:
        latent = drawn(40, 6, seed=seed)
        return [Gram.of(latent @ common), Gram.of(latent @ weight + drawn(40, 9, seed=seed + 1))]

    samples = [similarity_of(sample(1000 + 2 * n), measure).matrix()[0, 1].item() for n in range(200)]
    generator = torch.Generator().manual_seed(0)
    spreads, middles = [], []
    for n in range(10):
        found = bootstrap(similarity_of(sample(5000 + 2 * n), measure), draw_stimuli(40, 100, generator))[:, 0, 1]
        spreads.append(float(found.std()))
        middles.append(float(found.mean()))
    assert np.mean(spreads) == pytest.approx(np.std(samples), rel=0.3)
    assert np.mean(middles) == pytest.approx(np.mean(samples), abs=0.05)  # copies would draw it towards 1


# Streaming


@pytest.mark.parametrize(("batch_size", "held"), [(4, 12), (4, 8), (5, 5), (30, 30), (1, 7), (3, None)])
def test_streamed_products_are_those_in_memory(batch_size: int, held: int | None) -> None:
    given = {"maps": drawn(30, 2, 4, 3).float(), "vector": drawn(30, 11, seed=1).float()}
    asked: list[slice] = []

    def activations(stimuli: slice) -> Mapping[str, torch.Tensor]:
        asked.append(stimuli)
        return {name: rows[stimuli] for name, rows in given.items()}

    few = 8 * 30 * 5  # columns at once
    found = inner_products(activations, 30, batch_size=batch_size, held=held, block_bytes=few)
    for name, rows in given.items():
        flat = rows.flatten(1).double()
        torch.testing.assert_close(found[name].products, flat @ flat.T, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found[name].sums, flat.sum(dim=1))
        assert found[name].units == flat.shape[1]
    assert max(stimuli.stop - stimuli.start for stimuli in asked) <= batch_size
    if held is None:
        assert len(asked) == 10


def test_the_plan_says_how_many_batches_and_is_kept_to() -> None:
    given = drawn(50, 1000).float()
    fixed = (24 + 64) * 50**2 + 2 * streaming.BLOCK_BYTES
    for held in (8, 16, 24, 40, 50):
        memory = (fixed + (held + 16) * 4000 + 100) / GIB
        found = plan(50, 1, 4000, batch_size=8, memory=memory)
        assert found.held == held
        assert found.memory <= memory * GIB
        batches: list[int] = []

        def activations(stimuli: slice, batches: list[int] = batches) -> Mapping[str, torch.Tensor]:
            batches.append(stimuli.stop - stimuli.start)
            return {"": given[stimuli]}

        inner_products(activations, 50, batch_size=8, held=found.held)
        assert len(batches) == found.batches
        assert held < 50 or sum(batches) == 50
    with pytest.raises(MetameryError, match=r"similarity of 50 stimuli, 1 sets of activations, takes 0.13 GiB; memory"):
        plan(50, 1, 4000, batch_size=8, memory=fixed / GIB)


MEASURE_MEMORY = """
import sys, torch
from metamery.analysis.similarity import streaming
from metamery.analysis.similarity.comparison import similarity_of

BLOCK = 8 * 2**20

def work(count, width, held):
    base = torch.randn(10, width)
    read = lambda some: {"": base[: some.stop - some.start] + some.start}
    inner = streaming.inner_products(read, count, batch_size=10, held=held, block_bytes=BLOCK)
    for measure in ("cka_linear", "cka_rbf", "rsa_correlation_spearman"):
        similarity_of([inner[""]] * 4, measure).matrix(torch.ones(count))

torch.set_num_threads(1)
work(20, 20_000, 10)
before = peak_memory()
planned = streaming.plan(400, 4, 4 * 200_000, batch_size=10, memory=0.15, block_bytes=BLOCK)
work(400, 200_000, planned.held)
print(planned.memory, peak_memory() - before)
"""


@on_linux
def test_the_memory_that_is_stated_is_not_exceeded() -> None:
    script = PEAK_MEMORY + MEASURE_MEMORY
    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    planned, used = map(int, ran.stdout.split())
    assert planned <= 0.15 * GIB
    assert used < planned + 32 * 2**20  # what the C library keeps for itself
    assert used < 4 * 400 * 200_000 * 2 / 3  # all activations would take more by themselves


def test_what_is_not_finite_is_named() -> None:
    given = drawn(K, 5)
    given[4, 2] = torch.inf
    with pytest.raises(MetameryError, match="activations at 'fc' to stimulus '4' are not finite"):
        inner_products(lambda stimuli: {"fc": given[stimuli]}, K)


def test_bad_input_is_named() -> None:
    inner = Gram.of(drawn(K, 5))
    with pytest.raises(MetameryError, match=r"unknown measure of similarity 'cka_linaer'; did you mean 'cka_linear'\?"):
        similarity_of([inner], "cka_linaer")
    with pytest.raises(MetameryError, match=r"the representations are of \[12, 14\] stimuli, expected the same"):
        similarity_of([inner, Gram.of(drawn(12, 5))], "cka_linear")
    with pytest.raises(MetameryError, match="similarity of 3 stimuli, expected at least 4"):
        similarity_of([inner.some([0, 1, 2])], "cka_linear")
