"""The mu-law: samples in 8 bits, with steps that grow with the level."""

from __future__ import annotations

import math

import torch

# Levels of an 8-bit code, and mu.
CODES, _MU = 256, 255.0


def mu_law_encode(x: torch.Tensor) -> torch.Tensor:
    """Samples from -1 to 1 as codes 0 to 255, int64; what is beyond is clipped.

    The law of ITU-T G.711 as a formula, f(x) = sgn(x) ln(1 + 255 |x|) / ln(256), in 256 even steps of f.

    >>> mu_law_encode(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([  0, 128, 255])
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32)).clamp(-1, 1)
    level = x.sign() * torch.log1p(_MU * x.abs()) / math.log1p(_MU)
    return ((level + 1) / 2 * _MU + 0.5).floor().to(torch.int64)


def mu_law_decode(codes: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Codes 0 to 255 as samples from -1 to 1.

    >>> mu_law_decode(torch.tensor([0, 64, 255])).round(decimals=2)
    tensor([-1.0000, -0.0600,  1.0000])
    """
    level = codes.to(dtype) / _MU * 2 - 1
    return level.sign() * torch.expm1(level.abs() * math.log1p(_MU)) / _MU
