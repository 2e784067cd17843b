"""Spherical harmonics against scipy's, and the SatCLIP tower against its definition."""

import math

import numpy as np
import pytest
import torch

from wildsat_core.errors import CheckpointError
from wildsat_core.location.satclip import SatCLIPEncoder, spherical_harmonics
from wildsat_core.models.location_files import satclip_weights
from wildsat_core.models.weights import load_exactly

PLACES = torch.tensor([[-98.0, 33.5], [180.0, 0.0], [-180.0, 0.0], [12.0, 90.0], [12.0, -90.0], [7.5, -66.6]])


def scipy_harmonic(l, m, lon, lat):  # noqa: E741
    """The orthonormal real harmonic with the Condon-Shortley sign, from scipy's complex one."""
    scipy_special = pytest.importorskip("scipy.special")
    y = scipy_special.sph_harm_y(l, abs(m), math.radians(lat + 90), math.radians(lon + 180))
    return y.real if m == 0 else math.sqrt(2) * (y.real if m > 0 else y.imag)


@pytest.mark.parametrize("degree", [1, 2, 10, 41])
def test_closed_form_harmonics_equal_scipys(degree):
    found = spherical_harmonics(PLACES, degree, "closed-form").numpy()
    assert found.shape == (len(PLACES), degree**2)
    for place, row in zip(PLACES.double().tolist(), found, strict=True):
        expected = [scipy_harmonic(l, m, *place) for l in range(degree) for m in range(-l, l + 1)]  # noqa: E741
        np.testing.assert_allclose(row, expected, atol=1e-10)


def test_analytic_harmonics_have_no_sign_and_pi_times_the_zonal_terms():
    closed = spherical_harmonics(PLACES, 6, "closed-form")
    analytic = spherical_harmonics(PLACES, 6, "analytic")
    i = 0
    for l in range(6):  # noqa: E741
        for m in range(-l, l + 1):
            factor = math.pi if m == 0 else (-1.0) ** abs(m)
            torch.testing.assert_close(analytic[:, i], closed[:, i] * factor)
            i += 1


def test_the_first_analytic_terms_have_their_published_values():
    """Numbers of the published formulas at degrees 0 to 2, longitude -98, latitude 33.5."""
    found = spherical_harmonics(torch.tensor([[-98.0, 33.5]], dtype=torch.float64), 3)[0].numpy()
    t, p = math.radians(33.5 + 90), math.radians(-98 + 180)
    s, c = math.sin(t), math.cos(t)
    expected = [
        0.886226925452758,
        0.48860251190292 * s * math.sin(p), 1.53499006191973 * c, 0.48860251190292 * s * math.cos(p),
        0.18209140509868 * 3 * s * s * math.sin(2 * p), 1.09254843059208 * s * math.sin(p) * c,
        2.97249547320451 * c * c - 0.990831824401503,
        1.09254843059208 * s * math.cos(p) * c, 0.18209140509868 * 3 * s * s * math.cos(2 * p),
    ]  # fmt: skip
    np.testing.assert_allclose(found, expected, atol=1e-9)


def tower(degree=10, width=16, dim=6, depth=2):
    state, sizes = {}, [degree**2, *[width] * depth]
    for i in range(depth):
        state[f"nnet.layers.{i}.weight"] = torch.randn(width, sizes[i], dtype=torch.float64) / sizes[i]
        state[f"nnet.layers.{i}.bias"] = torch.randn(width, dtype=torch.float64) / sizes[i]
    state["nnet.last_layer.weight"] = torch.randn(dim, width, dtype=torch.float64)
    state["nnet.last_layer.bias"] = torch.randn(dim, dtype=torch.float64)
    return state


@pytest.mark.parametrize("convention", ["analytic", "closed-form"])
def test_the_tower_equals_its_definition(convention):
    state = tower()
    hyper = {"le_type": "sphericalharmonics", "pe_type": "siren", "harmonics_calculation": convention}
    arguments, weights = satclip_weights(state, hyper)
    encoder = SatCLIPEncoder(**arguments)
    load_exactly(encoder, weights, "state")
    x = spherical_harmonics(PLACES, 10, convention)
    x = torch.sin(30 * (x @ state["nnet.layers.0.weight"].T + state["nnet.layers.0.bias"]))
    x = torch.sin(x @ state["nnet.layers.1.weight"].T + state["nnet.layers.1.bias"])
    x = x @ state["nnet.last_layer.weight"].T + state["nnet.last_layer.bias"]
    np.testing.assert_allclose(encoder.eval().encode(PLACES.numpy()), x.numpy(), rtol=1e-5, atol=1e-5)
    assert encoder(PLACES).dtype == torch.float32


def test_there_is_no_seam_at_the_antimeridian_and_one_value_at_a_pole():
    east, west, pole_a, pole_b = spherical_harmonics(
        torch.tensor([[180.0, 12.0], [-180.0, 12.0], [0.0, 90.0], [123.0, 90.0]]), 12
    )
    torch.testing.assert_close(east, west, atol=1e-9, rtol=0)
    torch.testing.assert_close(pole_a, pole_b, atol=1e-9, rtol=0)


def test_other_towers_are_refused():
    with pytest.raises(CheckpointError, match="only SatCLIP towers of spherical harmonics"):
        satclip_weights(tower(), {"le_type": "grid", "pe_type": "siren"})
    with pytest.raises(CheckpointError, match="only SatCLIP towers"):
        satclip_weights({"nnet.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="must be positive"):
        SatCLIPEncoder(degree=0)
