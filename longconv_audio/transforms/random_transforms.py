"""What random transforms have in common: which items they touch, and how they draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from longconv_audio.errors import OptionError

Generators = torch.Generator | Sequence[torch.Generator] | None


class RandomTransform(nn.Module):
    """A transform that each item of a batch undergoes with probability p. Subclasses give `transform`.

    Args:
        p: the probability, 0 to 1.
    """

    def __init__(self, p: float):
        super().__init__()
        if not 0 <= p <= 1:
            raise OptionError(f"p is {p}; expected a probability from 0 to 1")
        self.p = p

    def forward(self, x: torch.Tensor, generator: Generators = None) -> torch.Tensor:
        """The batch with some items transformed; the others stay as they are, to the bit.

        Args:
            x: `(batch, channels, samples)`, floating point.
            generator: one for the batch, one for each item, or None for torch's own.
        """
        check_batch(x)
        chosen = (uniform(0, 1, len(x), generator) < self.p).nonzero().flatten()  # on the CPU: nobody waits for a GPU
        if len(chosen) == 0:
            return self.leave(x)
        if len(chosen) == len(x):
            return self.transform(x, generator)
        if isinstance(generator, Sequence):
            generator = [generator[i] for i in chosen.tolist()]
        chosen = chosen.to(x.device)
        return self.leave(x).index_copy(0, chosen, self.transform(x[chosen], generator))

    def transform(self, x: torch.Tensor, generator: Generators) -> torch.Tensor:
        """All of x, transformed, in x's dtype."""
        raise NotImplementedError(f"{type(self).__name__} has no transform")

    def leave(self, x: torch.Tensor) -> torch.Tensor:
        """Items that are not transformed."""
        return x


class Compose(nn.Sequential):
    """Transforms in series.

    Args:
        transforms: each takes a batch; those that draw take a generator too.
    """

    def __init__(self, transforms: Sequence[nn.Module]):
        super().__init__(*transforms)

    def forward(self, x: torch.Tensor, generator: Generators = None) -> torch.Tensor:
        """The batch after all of them; see `RandomTransform`."""
        for transform in self:
            random = isinstance(transform, (RandomTransform, Compose))
            x = transform(x, generator) if random else transform(x)
        return x


def draw(function: Callable, batch: int, generator: Generators) -> torch.Tensor:
    """What `function(count, generator)` draws for a batch: at once, or item by item where each has a generator."""
    if not isinstance(generator, Sequence):
        return function(batch, generator)
    if len(generator) != batch:
        raise ValueError(f"generator has {len(generator)} generators; expected one for each of the {batch} items")
    if not batch:
        return function(0, None)
    return torch.cat([function(1, each) for each in generator])


def uniform(low: float, high: float, batch: int, generator: Generators) -> torch.Tensor:
    """A number from [low, high) for each item, float64, on the CPU.

    >>> uniform(3, 3, 2, None)
    tensor([3., 3.], dtype=torch.float64)
    """

    def one(count, generator):
        device = "cpu" if generator is None else generator.device
        return torch.rand(count, dtype=torch.float64, generator=generator, device=device).cpu()

    return low + (high - low) * draw(one, batch, generator)


def normal(shape: tuple[int, ...], batch: int, generator: Generators, *, device, dtype) -> torch.Tensor:
    """White noise of unit scale, `(batch, *shape)`, on a device. A generator of another device seeds one there."""

    def one(count, generator):
        if generator is not None and generator.device != torch.device(device):
            seed = torch.randint(2**62, (1,), generator=generator, device=generator.device)
            generator = torch.Generator(device).manual_seed(int(seed))
        return torch.randn(count, *shape, generator=generator, device=device, dtype=dtype)

    return draw(one, batch, generator)


def check_batch(x: torch.Tensor) -> None:
    """Raises TypeError for what is no tensor of floats, ValueError for another shape."""
    if not isinstance(x, torch.Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, torch.Tensor) else type(x).__name__
        raise TypeError(f"x is {kind}; expected a floating-point tensor (batch, channels, samples)")
    if x.ndim != 3:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected (batch, channels, samples)")


def check_range(what: str, low: float, high: float, unit: str) -> None:
    """Raises OptionError for a range that is none."""
    if not -torch.inf < low <= high < torch.inf:
        raise OptionError(f"{what} from {low} to {high} {unit}: expected finite numbers, the lower one first")
