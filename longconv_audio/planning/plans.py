"""What is to be convolved, how it is carried out, and how that reads."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Convolution:
    """What a plan is for: u `(batch, channels, length)` with k `(filters, taps)`. See `planning.plan`.

    Args:
        taps: those that meet an output.
        out_length: samples of a row of y.
        precision: "half", "single" or "double".
    """

    batch: int
    channels: int
    length: int
    taps: int
    out_length: int
    mode: str
    dtype: str
    precision: str
    pre_gate: bool
    post_gate: bool
    filters: int
    filter_per_item: bool
    prepared: bool
    backward: bool
    sparsity: float

    @property
    def rows(self) -> int:
        return self.batch * self.channels

    @property
    def spectra(self) -> int:
        """Distinct filters in all."""
        return self.filters * (self.batch if self.filter_per_item else 1)

    def __str__(self) -> str:
        gates = {(True, True): ", both gates", (True, False): ", gated before", (False, True): ", gated after"}
        return (
            f"{self.batch:,} x {self.channels:,} rows of {self.length:,} samples with {self.taps:,} taps "
            f"({'gradients, ' if self.backward else ''}{self.mode}, {self.dtype} in {self.precision} precision"
            f"{gates.get((self.pre_gate, self.post_gate), '')})"
        )


@dataclass(frozen=True)
class Plan:
    """How a convolution is carried out on a GPU, and what that is predicted to take.

    Args:
        convolution, device: for what, and the device's name.
        algorithm: "fused", "three-pass", "five-pass", "overlap-save" or "torch.fft".
        points: complex points M of a tile's transform, which is the fold of 2 M real samples; for torch.fft those of
            its spectra.
        outer: the outer DFTs, the first one being the outermost; none where a tile is one block's.
        inner_points: of the transform within a block.
        factors: of the transform, all of them.
        tiles: pieces that a row is cut into.
        hop: samples of the output from one tile to the next.
        group: rows (tiles of them) whose planes are in memory at a time.
        passes: over the points of a tile.
        bytes: that device memory moves.
        flops: floating-point operations.
        seconds: of the whole call, the filters' spectra included where they are not prepared.
        memory: bytes of device memory, inputs and results included.
        runner_up: the best plan with another transform or algorithm, if there is one.
    """

    convolution: Convolution
    device: str
    algorithm: str
    points: int
    outer: tuple[int, ...]
    inner_points: int
    factors: tuple[int, ...]
    tiles: int
    hop: int
    group: int
    passes: int
    bytes: int
    flops: int
    seconds: float
    memory: int
    runner_up: Plan | None = None

    @property
    def order(self) -> int:
        """Of the decomposition: how many factors the transform has."""
        return len(self.factors)

    def as_dict(self) -> dict:
        """All that JSON can say of it."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        after = None if self.runner_up is None else self.runner_up.as_dict()
        return {**told, "convolution": dict(vars(self.convolution)), "order": self.order, "runner_up": after}

    def __str__(self) -> str:
        after = "none" if self.runner_up is None else self.runner_up._in_short()
        return (
            f"{self.convolution} on {self.device}: {self._how()}. Predicted: {_seconds(self.seconds)}, "
            f"{_scaled(self.bytes, 'B')} moved in device memory, {_scaled(self.flops, 'FLOP')}, "
            f"{_scaled(self.memory, 'B')} of memory. Runner-up: {after}."
        )

    def _in_short(self) -> str:
        tiles = f"{self.tiles:,} tiles a row by " if self.tiles > 1 else ""
        return f"{self.algorithm}, {tiles}{' x '.join(map(str, self.factors))}, {_seconds(self.seconds)}"

    def _how(self) -> str:
        cut = f"{self.tiles:,} tiles a row with a hop of {self.hop:,} samples, each by " if self.tiles > 1 else ""
        size = f"an FFT of {self.points:,} complex points ({2 * self.points:,} real)"
        if not self.factors:
            return f"{self.algorithm}: {size}"
        walked = f", {self.group:,} tiles at a time" if self.outer else ""
        return (
            f"{self.algorithm}: {cut}{size} as {' x '.join(map(str, self.factors))}, of order {self.order}, in "
            f"{self.passes} pass{'es' if self.passes > 1 else ''}{walked}"
        )


def _seconds(value: float) -> str:
    """A time in three digits.

    >>> _seconds(0.00123), _seconds(0.0000042), _seconds(75)
    ('1.23 ms', '4.2 us', '75 s')
    """
    unit, scale = next(((u, s) for u, s in (("s", 1.0), ("ms", 1e-3)) if value >= s), ("us", 1e-6))
    return f"{value / scale:.3g} {unit}" if value < 1000 else f"{value:,.0f} s"


def _scaled(value: float, unit: str) -> str:
    """A number in three digits and a prefix of the SI.

    >>> _scaled(141e9, "B"), _scaled(999, "B")
    ('141 GB', '999 B')
    """
    prefixes = "kMGTPE"
    steps = 0
    while value >= 999.5 and steps < len(prefixes):
        value, steps = value / 1000, steps + 1
    return f"{value:.3g} {prefixes[steps - 1] if steps else ''}{unit}"
