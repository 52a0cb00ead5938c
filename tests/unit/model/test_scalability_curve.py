"""The law's curve: known coefficients come back, published fits are met, and points that say nothing are refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tcpsight.model.scalability_curve import (
    FitError,
    determination,
    deviation,
    fit_deviation,
    fit_law,
    peak_concurrency,
    throughput_at,
)

N = np.arange(1, 33)


def columns(path, separator=None):
    lines = [line.split(separator) for line in path.read_text().splitlines()[1:]]
    return np.array([float(line[0]) for line in lines]), np.array([float(line[1]) for line in lines])


def free_fit(n, throughput):
    start = (0.01, 0.0001, float((throughput / n).max()))
    return [c.value for c in fit_law(n, throughput, start, fits_throughput_of_one=True)]


@pytest.mark.parametrize(
    ("sigma", "kappa", "one"), [(0.05, 0.02, 1800.0), (0.0, 0.0, 7.0), (0.3, 1e-6, 1e6), (0.9, 0.1, 0.5)]
)
def test_points_on_the_curve_give_its_coefficients(sigma, kappa, one):
    throughput = throughput_at(N, sigma, kappa, one)
    assert free_fit(N, throughput) == pytest.approx([sigma, kappa, one], rel=1e-6, abs=1e-9)
    a, b = fit_deviation(N, throughput, one)
    assert (a.value, b.value - a.value) == pytest.approx((kappa, sigma), rel=1e-6, abs=1e-9)


def test_superlinear_points_give_negative_coefficients():
    throughput = throughput_at(N[:8], 0.07, -0.001, 10_000)
    assert free_fit(N[:8], throughput) == pytest.approx([0.07, -0.001, 10_000], rel=1e-6)


@pytest.mark.parametrize("name", ["handlersocket.txt", "handlersocket-prefix.txt", "voltdb.txt", "linear2.txt"])
def test_unconstrained_fits_agree_with_scipy(fixtures_dir, name):
    known = json.loads((fixtures_dir / "usl" / "expected.json").read_text())
    expected = known["scipy curve_fit (unconstrained, own run)"][name]
    found = free_fit(*columns(fixtures_dir / "usl" / name))
    assert found == pytest.approx([expected["sigma"], expected["kappa"], expected["lambda"]], rel=2e-6)


def test_a_fit_agrees_with_the_published_one_and_its_errors(fixtures_dir):
    known = json.loads((fixtures_dir / "usl" / "expected.json").read_text())["specsdm91.csv"]
    n, throughput = columns(fixtures_dir / "usl" / "specsdm91.csv", ",")
    start = (0.01, 0.0001, float((throughput / n).max()))
    found = fit_law(n, throughput, start, fits_throughput_of_one=True)
    assert [c.value for c in found] == pytest.approx([known["alpha"], known["beta"], known["gamma"]], rel=5e-4)
    errors = [known["se"][name] for name in ("alpha", "beta", "gamma")]
    assert [c.error for c in found] == pytest.approx(errors, rel=5e-4)


def test_both_steps_agree_with_scipy(fixtures_dir):
    folder = fixtures_dir / "pt-usl"
    known = json.loads((folder / "run-expected" / "N-vs-X-001.fit.recomputed.json").read_text())
    points = np.loadtxt(folder / "in" / "N-vs-X-001.txt")
    n, throughput, one = points[:, 0], points[:, 1], known["C1"]
    a, b = fit_deviation(n, throughput, one)
    quadratic = known["quadratic"]
    assert [a.value, b.value] == pytest.approx([quadratic["a"], quadratic["b"]], rel=1e-9)
    assert [a.error, b.error] == pytest.approx([quadratic["a_se"], quadratic["b_se"]], rel=1e-9)
    x, y = deviation(n, throughput, one)
    assert determination(y, a.value * x * x + b.value * x) == pytest.approx(quadratic["R2_uncentred"], rel=1e-9)
    for name, is_free in (("refit", False), ("refit_X", True)):
        expected = known[name]
        start = (b.value - a.value, a.value, one)
        found = fit_law([1, *n], [one, *throughput], start, fits_throughput_of_one=is_free)
        values = [expected["sigma"], expected["kappa"], expected.get("C1", one)]
        assert [c.value for c in found] == pytest.approx(values, rel=2e-6)
        assert [c.error for c in found][: 2 + is_free] == pytest.approx(expected["se"], rel=1e-5)
        assert math.floor(peak_concurrency(found[0].value, found[1].value)) == (33 if name == "refit" else 35)


@pytest.mark.parametrize(
    ("n", "throughput"),
    [([], []), ([1], [10]), ([1, 1, 1], [10, 11, 12]), ([1, 2], [10, 20]), ([5, 5], [0, 0])],
)
def test_points_that_do_not_determine_the_parabola_are_refused(n, throughput):
    with pytest.raises(FitError):
        fit_deviation(n, throughput, 10)


def test_fewer_points_than_coefficients_are_refused():
    with pytest.raises(FitError, match="2 points do not determine 3 coefficients"):
        fit_law([1, 2], [10, 19], (0.0, 0.0, 10.0), fits_throughput_of_one=True)


def test_as_many_points_as_coefficients_have_no_error():
    sigma, kappa, one = fit_law([2, 4], [19, 30], (0.0, 0.0, 10.0), fits_throughput_of_one=False)
    assert math.isnan(sigma.error)
    assert math.isnan(kappa.error)
    assert (one.value, one.error) == (10.0, 0.0)
    assert throughput_at([2, 4], sigma.value, kappa.value, 10.0).tolist() == pytest.approx([19, 30])


def test_the_peak_is_where_throughput_is_highest():
    at = np.linspace(1, 100, 100_000)
    best = at[throughput_at(at, 0.02, 0.0008, 1000).argmax()]
    assert peak_concurrency(0.02, 0.0008) == pytest.approx(best, rel=1e-4)
    assert math.isnan(peak_concurrency(0.02, 0.0))
    assert math.isnan(peak_concurrency(1.0, 0.001))


def test_points_without_throughput_have_no_deviation():
    x, y = deviation([1, 2, 3], [10, 0, 15], 10)
    assert (x.tolist(), y.tolist()) == ([0, 2], [0, 1])


def test_points_beyond_all_numbers_are_refused():
    with pytest.raises(FitError, match="range in which the law has a value"):
        free_fit(N, np.full(len(N), 1e308) * np.where(N > 3, np.inf, 1.0))
