"""The kernels of csrc/outer_*.cuh: the outermost DFT of rows that are too long for one block, forth and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from .gpus import Gpu
from .plans import Kernel

# R1, R2 of csrc/outer_shape.cuh, by their product.
OUTER_FACTORS = ((1, 2), (1, 4), (1, 8), (1, 16), (2, 16), (4, 16), (8, 16), (16, 16), (16, 32))
_NUMBERS = {"fp32": "outer::Fp32", "fp16": "outer::Fp16", "bf16": "outer::Bf16"}


@dataclass(frozen=True)
class OuterShape:
    """The kernels of one size.

    Args:
        r1, r2: the factors of R; r1 is 1 where a thread holds a whole column.
    """

    r1: int
    r2: int

    @property
    def size(self) -> int:
        return self.r1 * self.r2

    @property
    def threads(self) -> int:
        return 32 * self.r1 if self.r1 > 1 else 128

    @property
    def columns(self) -> int:
        """Points of a row's planes that a block works on."""
        return 32 if self.r1 > 1 else self.threads

    @property
    def shared_bytes(self) -> int:
        return self.size * 32 * 8 + self.r1 * 4 if self.r1 > 1 else 0

    def blocks(self, real: bool) -> int:
        """Resident on a multiprocessor; real samples take fewer registers."""
        in_all = 512 if self.r2 == 32 else 768 if 1 < self.r1 < self.r2 and not real else 1024
        return in_all // self.threads

    def fits(self, gpu: Gpu) -> bool:
        return self.shared_bytes <= gpu.shared_per_block

    def __str__(self) -> str:
        return f"outer::Shape<{self.r1}, {self.r2}>"

    def forward(self, number: str, real: bool, precision: str) -> Kernel:
        """Rows to planes in a precision. `real`: no window has a sample in its second half."""
        rest = f", {_NUMBERS[number]}, {str(real).lower()}, outer::Planes::{precision}"
        return self._kernel("outer_forward.cuh", "outer_forward", rest, real)

    def inverse(self, number: str, precision: str) -> Kernel:
        """Planes in a precision to rows."""
        return self._kernel("outer_inverse.cuh", "outer_inverse", f", {_NUMBERS[number]}, outer::Planes::{precision}")

    def filter_forward(self) -> Kernel:
        """Taps to planes."""
        return self._kernel("outer_forward.cuh", "outer_filter_forward")

    def filter_inverse(self) -> Kernel:
        """Planes to the gradients of taps."""
        return self._kernel("outer_inverse.cuh", "outer_filter_inverse")

    def _kernel(self, header: str, function: str, rest: str = "", real: bool = False) -> Kernel:
        name = f"outer::{function}<{self}{rest}>"
        return Kernel(header, name, self.threads, self.blocks(real), self.shared_bytes, "OuterArguments")


def all_kernels(gpu: Gpu) -> Iterator[Kernel]:
    """Every specialisation that a call on the device may ask for, once."""
    for shape in (OuterShape(*factors) for factors in OUTER_FACTORS):
        if shape.fits(gpu):
            for number, precision in product(_NUMBERS, ("single", "half")):
                if (number, precision) != ("fp32", "half"):
                    yield shape.forward(number, True, precision)
                    yield shape.forward(number, False, precision)
                    yield shape.inverse(number, precision)
            yield shape.filter_forward()
            yield shape.filter_inverse()
