"""The Monarch convolution against torch.fft, and its adjoints against autograd."""

import math

import pytest
import torch

from longconv_audio import long_conv, reference

pytestmark = pytest.mark.usefixtures("one_thread")

FACTORS = [(8,), (4, 8), (16, 16), (3, 5), (32, 16), (4, 8, 2), (16, 16, 16), (3, 4, 5), (2, 4, 2, 8), (8, 4, 8, 4)]
EVERY_ORDER = pytest.mark.parametrize("factors", FACTORS, ids=str)
# Relative error, in the 2-norm, of float64 transforms of some thousand points.
ROUNDING = 4e-15


def noise(*shape, complex_valued=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.complex128 if complex_valued else torch.float64)


def error(found, target):
    assert found.shape == target.shape
    assert found.dtype == target.dtype
    return (torch.linalg.vector_norm(found - target) / torch.linalg.vector_norm(target)).item()


def lengths(size):
    """Rows of all samples, of one, and such that fill whole and broken rows of the first product."""
    return sorted({size, 1, size // 2, size // 2 + 1, size - 1})


@EVERY_ORDER
@pytest.mark.parametrize("complex_valued", [False, True])
def test_transform(factors, complex_valued):
    size = math.prod(factors)
    for length in lengths(size):
        x = noise(3, length, complex_valued=complex_valued)
        spectrum = reference.monarch_dft(x, factors)
        assert error(spectrum, torch.fft.fft(x, size)[..., reference.frequencies(factors)]) < ROUNDING
        back = reference.monarch_idft(spectrum, factors, length=length)
        assert error(back, x.to(back.dtype)) < ROUNDING


@EVERY_ORDER
def test_right_angle_transform_is_a_twisted_one(factors):
    size = math.prod(factors)
    for length in lengths(size):
        x = noise(3, length)
        twist = torch.exp(0.5j * math.pi * torch.arange(length, dtype=torch.float64) / size)
        spectrum = reference.monarch_dft(x, factors, right_angle=True)
        assert error(spectrum, torch.fft.fft(x * twist, size)[..., reference.frequencies(factors)]) < ROUNDING
        back = reference.monarch_idft(spectrum, factors, right_angle=True, length=length)
        assert error(back, x.to(back.dtype)) < ROUNDING


@EVERY_ORDER
@pytest.mark.parametrize("complex_valued", [False, True])
def test_circular_convolution(factors, complex_valued):
    size = math.prod(factors)
    for length, taps in [(size, size), (size, 3), (size // 2, size - size // 2 + 1)]:
        u = noise(2, 3, length, complex_valued=complex_valued)
        k = noise(3, taps, complex_valued=complex_valued, seed=1)
        target = torch.fft.ifft(torch.fft.fft(u, size) * torch.fft.fft(k, size))
        assert error(reference.convolve(u, k, factors), target if complex_valued else target.real) < ROUNDING


@EVERY_ORDER
def test_real_rows_in_half_the_points(factors):
    size = math.prod(factors)
    for length, taps in [(2 * size, 2 * size), (size, size + 1), (2 * size - 1, 2)]:
        u, k = noise(2, 3, length), noise(3, taps, seed=1)
        target = torch.fft.irfft(torch.fft.rfft(u, 2 * size) * torch.fft.rfft(k, 2 * size), 2 * size)
        assert error(reference.convolve_halves(u, k, factors), target) < ROUNDING


@EVERY_ORDER
def test_real_rows_in_pairs(factors):
    size = math.prod(factors)
    u, k = noise(2, 2, size), noise(2, size, seed=1)
    target = torch.fft.irfft(torch.fft.rfft(u) * torch.fft.rfft(k)[:, None], size)
    assert error(reference.convolve_pairs(u, k, factors), target) < ROUNDING


@EVERY_ORDER
def test_right_angle_convolution(factors):
    size = math.prod(factors)
    for length, taps in [(size, size), (size, size + 1), (size - 1, 3), (size // 2, size), (1, 2 * size)]:
        u, k = noise(2, 3, length), noise(3, taps, seed=1)
        target = torch.fft.irfft(torch.fft.rfft(u, 2 * size) * torch.fft.rfft(k, 2 * size), 2 * size)
        found = reference.convolve_right_angle(u, k, factors)
        assert error(found, target) < ROUNDING
        assert error(found[..., :length], long_conv(u, k)) < ROUNDING


@EVERY_ORDER
def test_right_angle_adjoints(factors):
    size = math.prod(factors)
    for length, taps in [(size, size), (size - 1, max(size // 3, 1)), (size // 2, size)]:
        u, k = noise(2, 3, length).requires_grad_(), noise(3, taps, seed=1).requires_grad_()
        dy = noise(2, 3, length, seed=2)
        spectrum = torch.fft.rfft(u, 2 * size) * torch.fft.rfft(k, 2 * size)
        y = torch.fft.irfft(spectrum, 2 * size)[..., :length]
        target_u, target_k = torch.autograd.grad(y, (u, k), dy)
        du, dk = reference.right_angle_gradients(u.detach(), k.detach(), dy, factors)
        assert error(du, target_u) < ROUNDING
        assert error(dk.sum(0), target_k) < ROUNDING
