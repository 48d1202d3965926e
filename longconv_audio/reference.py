"""The Monarch convolution in plain float64, with its derivation: what fused kernels are held to.

The idea of the decomposition, and of running it on matrix units with everything fused, is that of Fu, Kumbong, Nguyen
and Re, "FlashFFTConv: Efficient Convolutions for Long Sequences with Tensor Cores" (ICLR 2024, arXiv 2311.05908).

**Order p.** Let N = N1 N2 ... Np, and W_N = exp(-2 pi i / N). A DFT of N points splits by its first factor: with
R = N / N1, n = n1 R + m and k = k1 + N1 q,

    nk = n1 R k1 + n1 q N + m k1 + m q N1      and so, since W_N^N = 1,
    X[k1 + N1 q] = sum over m of  W_R^(m q)  W_N^(m k1)  sum over n1 of  W_N1^(n1 k1) x[n1 R + m]
                                  `- rest -' `twiddle -'                 `-- N1-point DFT --'

The inner sum is a product with the N1 x N1 DFT matrix, over R columns at once. What is left is, for each k1, a DFT of R
points in m, which splits by N2, and so on: p matrix products with p - 1 twiddles between. Nothing moves: digit n_i of
the time is replaced by digit k_i of the frequency where it stands. The result has X[k] at the digits (k1, ..., kp) with

    n = n1 (N2 ... Np) + n2 (N3 ... Np) + ... + np         k = k1 + N1 k2 + N1 N2 k3 + ...

This is the Monarch order of a spectrum. A product of two spectra does not care for the order, and the inverse takes the
same steps back, so no permutation is ever carried out.

**Zero padding.** n1 is the most significant digit of the time. Samples known to be zero at the end are rows of the
first product that need not be multiplied, and outputs that nobody wants are rows of the last.

**The right-angle fold.** Let now M be the number of points, the factors' product, and reduce polynomials in z modulo
z^M - i instead of z^M - 1 (Nussbaumer; Crandall's right-angle convolution). Since z^(n + M) = i z^n, a product of 2M
real coefficients w comes out as w[n] + i w[n + M]: both halves of a linear convolution from M complex points, with no
untangling. The roots of z^M = i are W_M^(k - 1/4), so that the transform is the DFT of x[n] exp(i pi n / 2M), or the
DFT above with k - 1/4 for k. With R = M / N1 the split still holds, the quarter staying with k1,

    X[k1 + N1 q] = sum over m of  W_R^(m q)  W_M^(m (k1 - 1/4))  sum over n1 of  W_N1^(n1 (k1 - 1/4)) x[n1 R + m]

and the fold costs nothing but other constants in the first matrix and the first twiddle. On this circle the conjugate
of a spectrum belongs to the coefficients run backwards, z^-r = -i z^(M - r): what would wrap turns imaginary, and the
adjoints of a causal convolution are real parts,

    du = Re T^-1(conj(T k) T dy)          dk = Re T^-1(conj(T u) T dy).

**A mask on the spectrum.** With m[k] in {0, 1}, y = Re T^-1(m T(k) T(u)) on this circle is no linear convolution any
more: the masked filter Re T^-1(m T(k)) goes round. A block of bins that is zero needs no transform: those of one k1 are
the digits' rest, which a Monarch transform takes apart for each k1, after its first product and before its last.

**Real rows in pairs.** For a real filter, the convolution of a + i b is conv(a) + i conv(b): two rows in one.

**A real row as half as many points.** With the even and the odd samples as z = x_even + i x_odd, the spectra of both
are E[k] = (Z[k] + conj Z[-k]) / 2 and O[k] = (Z[k] - conj Z[-k]) / 2i, and a circular convolution of 2M points is

    E_y = E_u E_k + W_M^k O_u O_k          O_y = E_u O_k + O_u E_k          Z_y = E_y + i O_y.
"""

from __future__ import annotations

import math

import torch


def convolve(u: torch.Tensor, k: torch.Tensor, factors: tuple[int, ...]) -> torch.Tensor:
    """The circular convolution of N points, N being the factors' product.

    Args:
        u: `(..., L)`, real or complex, L <= N; zeros follow.
        k: `(..., K)`, the same, with leading axes that broadcast.
        factors: (N1, ..., Np), at least one.

    Returns:
        `(..., N)`, complex128, or float64 where u and k are real. A linear convolution, where L + K - 1 <= N.

    >>> convolve(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0]), (2, 2)).round(decimals=9) + 0.0
    tensor([1., 3., 2., 0.], dtype=torch.float64)
    """
    y = monarch_idft(monarch_dft(u, factors) * monarch_dft(k, factors), factors)
    return y if u.is_complex() or k.is_complex() else y.real


def convolve_right_angle(u: torch.Tensor, k: torch.Tensor, factors: tuple[int, ...]) -> torch.Tensor:
    """The linear convolution of real rows through M complex points, by the right-angle fold.

    Args:
        u: `(..., L)`, L <= M.
        k: `(..., K)`, L + K - 1 <= 2 M.
        factors: of M.

    Returns:
        `(..., 2 M)`: L + K - 1 samples, the first M of which are the causal part of a row of M, and zeros.
    """
    y = monarch_idft(right_angle_dft(u, factors) * right_angle_dft(k, factors), factors, right_angle=True)
    return torch.cat([y.real, y.imag], -1)


def right_angle_gradients(u: torch.Tensor, k: torch.Tensor, dy: torch.Tensor, factors: tuple[int, ...]):
    """The gradients of a causal convolution `y = convolve_right_angle(u, k)[..., :L]` from y's.

    Args:
        u, dy: `(..., L)`, L <= M.
        k: `(..., K)`, K <= M.
        factors: of M.

    Returns:
        `(du, dk)`: `(..., L)` and, for each row, `(..., K)`.
    """
    spectrum = right_angle_dft(dy, factors)
    du = right_angle_dft(k, factors).conj() * spectrum
    dk = right_angle_dft(u, factors).conj() * spectrum
    return (
        monarch_idft(du, factors, right_angle=True, length=u.shape[-1]).real,
        monarch_idft(dk, factors, right_angle=True, length=k.shape[-1]).real,
    )


def convolve_masked(u: torch.Tensor, k: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """The convolution of real rows on the right-angle circle with some bins of the spectrum alone, by plain matrices.

    Args:
        u: `(..., L)`, L <= M.
        k: `(..., K)`, K <= 2 M; tap j stands at lag j, and in place 2 M - m stands lag -m with its sign turned.
        kept: `(M,)`, true for the bins that stay. Bin k is the frequency (k - 1/4) / M cycles a sample.

    Returns:
        `(..., M)`, float64: the real parts. Differentiable.
    """
    size = kept.shape[-1]
    quarters = 4 * torch.arange(size)[:, None] - 1
    transform = _roots(quarters * torch.arange(2 * size), 4 * size)  # (bins, places); z^(n + M) = i z^n
    spectra = [x.to(torch.complex128) @ transform[:, : x.shape[-1]].mT for x in (u, k)]
    product = spectra[0] * spectra[1] * kept
    return (product @ transform[:, :size].conj()).real / size


def convolve_pairs(u: torch.Tensor, k: torch.Tensor, factors: tuple[int, ...]) -> torch.Tensor:
    """The circular convolution of pairs of real rows, `(..., 2, L)`, with the real filter that both share, `(..., K)`.

    Returns:
        `(..., 2, N)`.
    """
    y = convolve(torch.complex(u[..., 0, :].double(), u[..., 1, :].double()), k, factors)
    return torch.stack([y.real, y.imag], -2)


def convolve_halves(u: torch.Tensor, k: torch.Tensor, factors: tuple[int, ...]) -> torch.Tensor:
    """The circular convolution of 2M points of real rows, through M complex points, M being the factors' product.

    Returns:
        `(..., 2 M)`.
    """
    size = math.prod(factors)
    frequency = frequencies(factors)
    (eu, ou), (ek, ok) = (_even_and_odd(x, factors) for x in (u, k))
    even = eu * ek + _roots(frequency, size) * ou * ok
    odd = eu * ok + ou * ek
    y = monarch_idft(even + 1j * odd, factors)
    return torch.stack([y.real, y.imag], -1).flatten(-2)


def monarch_dft(x: torch.Tensor, factors: tuple[int, ...], *, right_angle: bool = False) -> torch.Tensor:
    """The DFT of N points, or with `right_angle` the values at the roots of z^N = i, in Monarch order.

    Args:
        x: `(..., n)`, real or complex, n <= N; the zeros that follow are not multiplied.
        factors: (N1, ..., Np).
    """
    size = math.prod(factors)
    x = x.to(torch.complex128)
    rest = size // factors[0]
    rows = -(-x.shape[-1] // rest)  # of the first product; those after them are zero
    x = torch.nn.functional.pad(x, (0, rows * rest - x.shape[-1]))
    for stage, factor in enumerate(factors):
        first = right_angle and stage == 0
        x = x.unflatten(-1, (-1, rows if stage == 0 else factor, rest))  # (..., done, n_i, m)
        x = torch.einsum("kn,...dnm->...dkm", dft_matrix(factor, first)[:, : x.shape[-2]], x)
        x = (x * twiddles(factor, rest, first)).flatten(-3)
        rest //= factors[stage + 1] if stage + 1 < len(factors) else 1
    return x


def monarch_idft(
    spectrum: torch.Tensor, factors: tuple[int, ...], *, right_angle: bool = False, length: int | None = None
) -> torch.Tensor:
    """The inverse of `monarch_dft`: the first `length` samples, all N by default."""
    size = math.prod(factors)
    length = size if length is None else length
    x, rest = spectrum, 1
    for stage in reversed(range(len(factors))):
        factor, first = factors[stage], right_angle and stage == 0
        rows = -(-length // rest) if stage == 0 else factor  # of the last product; nobody wants the others
        x = x.unflatten(-1, (-1, factor, rest)) * twiddles(factor, rest, first).conj()
        x = torch.einsum("kn,...dkm->...dnm", dft_matrix(factor, first)[:, :rows].conj(), x).flatten(-3)
        rest *= factor
    return x[..., :length] / size


def right_angle_dft(x: torch.Tensor, factors: tuple[int, ...]) -> torch.Tensor:
    """The right-angle spectrum of up to 2M real coefficients: z^(n + M) = i z^n folds them to M points first."""
    size = math.prod(factors)
    low, high = x[..., :size].to(torch.complex128), x[..., size:]
    if high.shape[-1]:
        low = low + 1j * torch.nn.functional.pad(high, (0, size - high.shape[-1]))
    return monarch_dft(low, factors, right_angle=True)


def dft_matrix(factor: int, right_angle: bool = False) -> torch.Tensor:
    """W_factor^(k n), rows k and columns n, or W_factor^((k - 1/4) n)."""
    return twiddles(factor, factor, right_angle, points=factor)


def twiddles(factor: int, rest: int, right_angle: bool = False, points: int | None = None) -> torch.Tensor:
    """W_N^(k m) for k < factor and m < rest, N = factor * rest (or `points`); or with k - 1/4 for k.

    The exponents are reduced as integers, so that each root is right to rounding.
    """
    points = points or factor * rest
    quarters = 4 * torch.arange(factor) - (1 if right_angle else 0)
    return _roots(quarters[:, None] * torch.arange(rest), 4 * points)


def frequencies(factors: tuple[int, ...]) -> torch.Tensor:
    """The frequency that stands at each place of the Monarch order: `fft(x)[frequencies(f)] == monarch_dft(x, f)`.

    >>> frequencies((2, 3)).tolist()
    [0, 2, 4, 1, 3, 5]
    """
    digits, weight = torch.zeros(1, dtype=torch.int64), 1
    for factor in factors:
        digits = (digits[:, None] + weight * torch.arange(factor)).flatten()
        weight *= factor
    return digits


def _even_and_odd(x: torch.Tensor, factors):
    """The spectra of the even and of the odd samples of a real row, through one transform."""
    x = torch.nn.functional.pad(x.double(), (0, 2 * math.prod(factors) - x.shape[-1]))
    z = monarch_dft(torch.complex(x[..., 0::2], x[..., 1::2]), factors)
    frequency = frequencies(factors)
    place = torch.argsort(frequency)
    mirrored = z[..., place[-frequency % len(frequency)]].conj()
    return (z + mirrored) / 2, (z - mirrored) / 2j


def _roots(exponents: torch.Tensor, order: int) -> torch.Tensor:
    """exp(-2 pi i exponent / order)."""
    angle = (exponents % order).double() * (-2 * math.pi / order)
    return torch.polar(torch.ones_like(angle), angle)
