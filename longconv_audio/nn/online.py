"""Convolution of a stream whose next input may depend on its last output, in blocks of any size.

Blocks of one sample take O(L log^2 L) operations for L samples, where sums over the taps would take O(L K), and a
transform for each sample more. Time is cut into frames of F samples, F a power of two that the filter's
past fits in. Within a frame the outputs that are still to come have places of their own, `pending`, and whoever has
U inputs together adds what these give to the next U outputs, for the U that the tiling says:

    outputs        after i inputs of the frame, i a multiple of U and of no larger power of two, the last U inputs
    ^              go to the next U outputs: each pair of an input and a later output is in exactly one tile
    |       4 4 4 .
    |       4 4 4 .          i = 1: U = 1        i = 3: U = 1
    |     1 4 4 4 .          i = 2: U = 2        i = 4: U = 4
    |   2 2 .
    | 1 2 2 .               A tile is a circular convolution of 2U points with the first 2U taps.
    | .
    +-------------> inputs

What stands nearer than a base block is a small matrix product, and what a frame leaves to the next is one more tile.
Sources: M. J. Fischer and L. J. Stockmeyer, "Fast on-line integer multiplication", J. Comput. Syst. Sci. 9 (1974);
J. van der Hoeven, "Relax, but don't be too lazy", J. Symbolic Computation 34 (2002); for long convolution models
C.-A. Oncescu, S. Purandare, S. Idreos and S. Kakade, "Flash Inference" (2024, arXiv 2410.12982).
"""

from __future__ import annotations

import torch

from ..arguments import check_tensors
from ..convolution import long_conv
from .dense_operator import dense_conv

# Samples of a base block: its taps stand ready as a matrix, which for filters from many channels to many gets large.
_BASE, _BASE_OF_MATRICES = 64, 16
# A block of at least this share of a frame is convolved with all its past at once.
_LARGE = 4


class OnlineConvolution:
    """A causal convolution with fixed taps, for streams.

    Args:
        taps: `(H, K)`, a filter for each channel, or `(groups, outputs, inputs, K)`, in each group of channels a filter
            from each input to each output.

    Raises:
        TypeError, ValueError: for taps that are no floats, or of another shape.

    A state is `{"past", "pending", "count"}`: the inputs of the last frame and of this one, `(batch, inputs, 2F)`, what
    they give to this frame's outputs, `(batch, outputs, F)`, and the samples of this frame, `(batch,)`, on the CPU or
    elsewhere. Its items need not stand at the same sample: where they do not, the state is brought to a frame's start.

    >>> convolution = OnlineConvolution(torch.tensor([[1.0, 0.5, 0.25]]))
    >>> state = convolution.init_state(1)
    >>> convolution.stream(torch.tensor([[[1.0, 0.0]]]), state)[0]
    tensor([[[1.0000, 0.5000]]])
    >>> convolution.stream(torch.tensor([[[0.0]]]), state)[0]
    tensor([[[0.2500]]])
    """

    def __init__(self, taps: torch.Tensor):
        check_tensors(taps=taps)
        if taps.ndim not in (2, 4) or not taps.shape[-1]:
            raise ValueError(
                f"taps has shape {tuple(taps.shape)}; expected (channels, taps) or (groups, outputs, inputs, taps), of "
                "one tap at least"
            )
        taps = taps.detach() if taps.dtype == torch.float64 else taps.detach().float()
        self.taps = taps[:, None, None] if taps.ndim == 2 else taps
        self.groups, self.outputs, self.inputs, self.count = self.taps.shape
        self.depthwise = self.outputs == self.inputs == 1
        self.base = _BASE if self.depthwise else _BASE_OF_MATRICES
        self.frame = max(1 << (self.count - 2).bit_length() if self.count > 1 else 1, self.base)
        self._spectra: dict[tuple, torch.Tensor] = {}
        self._near: dict[torch.dtype, torch.Tensor] = {}

    def init_state(self, batch: int, *, device=None, dtype=None) -> dict:
        """The state before the first sample; see `Streamable.init_state`."""
        wide = torch.float64 in (dtype, self.taps.dtype if dtype is None else None)
        like = {"device": device or self.taps.device, "dtype": torch.float64 if wide else torch.float32}
        return {
            "past": torch.zeros(batch, self.groups * self.inputs, 2 * self.frame, **like),
            "pending": torch.zeros(batch, self.groups * self.outputs, self.frame, **like),
            "count": torch.zeros(batch, dtype=torch.int64),
        }

    @torch.no_grad()
    def stream(self, block: torch.Tensor, state: dict) -> tuple[torch.Tensor, dict]:
        """The next outputs, `(batch, groups * outputs, n)`, of as many inputs; see `Streamable.stream`.

        Raises:
            ValueError: for a block or a state of another shape.
        """
        self._check(block, state["past"])
        if torch.is_autocast_enabled(block.device.type):
            with torch.autocast(block.device.type, enabled=False):
                return self._advance(block, state), state
        return self._advance(block, state), state

    def _advance(self, block, state: dict):
        past, pending = state["past"], state["pending"]
        start = at = self._common(state)
        x, size = block if block.dtype == past.dtype else block.to(past.dtype), block.shape[2]
        parts, done = [], 0
        while done < size or not parts:
            left = size - done
            if left > self.base and left * _LARGE >= self.frame:
                parts.append(self._all_at_once(x[..., done:], past, pending, at))
                done, at = size, 0
            else:
                n = self._step(at, left)
                parts.append(self._within(x[..., done : done + n], past, pending, at))
                done, at = done + n, at + n
                if n and at % self.base == 0:
                    self._tile(past, pending, at)
                    at %= self.frame
        state["count"].add_(at - start)
        y = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
        return y if y.dtype == block.dtype else y.to(block.dtype)

    def _step(self, at: int, left: int) -> int:
        """Samples to take next: up to a base block's end, or else a power of two that their place is a multiple of."""
        ahead = self.base - at % self.base
        if ahead < self.base or left < self.base:
            return min(ahead, left)
        return min(at & -at or self.frame, 1 << (left.bit_length() - 1))

    def _within(self, x, past, pending, at: int):
        """The outputs at the times of x, which is now the latest part of the past."""
        n, now = x.shape[2], self.frame + at
        past.narrow(2, now, n).copy_(x)
        due = pending.narrow(2, at, n)
        if n > self.base:
            return self._product(x, n, n).narrow(2, 0, n).add_(due)
        before = at % self.base
        near = past.narrow(2, now - before, before + n)
        if self.depthwise:
            matrix = self._near_matrix(x.dtype).narrow(1, 0, before + n).narrow(2, before, n)
            return torch.bmm(near.transpose(0, 1), matrix).transpose(0, 1).add_(due)
        matrix = self._near_matrix(x.dtype)[..., : before + n, before : before + n]
        y = torch.einsum("bgic,goicn->bgon", near.unflatten(1, (self.groups, -1)), matrix)
        return y.flatten(1, 2).add_(due)

    def _tile(self, past, pending, at: int) -> None:
        """Adds what the last inputs of a tile that ends here give to outputs to come."""
        if at == self.frame:
            past[..., : self.frame] = past[..., self.frame :]
            self._carry(past, pending)
            return
        size, now = at & -at, self.frame + at
        pending[..., at : at + size] += self._product(past[..., now - size : now], size, 2 * size)[..., size:]

    def _carry(self, past, pending) -> None:
        """What the past before this frame gives to it."""
        pending.copy_(self._product(past[..., : self.frame], self.frame, 2 * self.frame)[..., self.frame :])

    def _product(self, x, size: int, taps: int):
        """`size` inputs with the first taps on a circle of twice as many points: `(B, G * O, 2 size)`."""
        spectrum = torch.fft.rfft(x, 2 * size)
        filters = self._spectrum(taps, 2 * size, spectrum.dtype)
        if self.depthwise:
            return torch.fft.irfft(spectrum * filters[:, 0, 0], 2 * size)
        spectrum = torch.einsum("bgif,goif->bgof", spectrum.unflatten(1, (self.groups, -1)), filters)
        return torch.fft.irfft(spectrum.flatten(1, 2), 2 * size)

    def _all_at_once(self, x, past, pending, at: int):
        """A large block: its outputs, and the state at a frame's start, from one convolution with all its past."""
        reach, n = self.count - 1, x.shape[2]
        now = self.frame + at
        line = torch.cat([past[..., now - reach : now], x], -1)
        whole = self._convolve(line)
        y = whole[..., reach : reach + n]
        pending.zero_()
        pending[..., :reach] = whole[..., reach + n :]
        kept = min(n, self.frame)
        if kept < self.frame:
            past[..., : self.frame - kept] = past[..., now - self.frame + kept : now].clone()
        past[..., self.frame - kept : self.frame] = x[..., n - kept :]
        return y

    def _convolve(self, x):
        """The full convolution of `(B, G * I, samples)`: `(B, G * O, samples + K - 1)`."""
        if self.depthwise:
            precision = "double" if x.dtype == torch.float64 else "single"
            return long_conv(x, self.taps[:, 0, 0], mode="full", precision=precision)
        of_groups = x.unflatten(1, (self.groups, -1)).transpose(0, 1)  # (G B I n)
        y = dense_conv(of_groups, self.taps, 0, x.shape[-1] + self.count - 1, False)  # (G B O n)
        return y.transpose(0, 1).flatten(1, 2).to(x.dtype)

    def _common(self, state: dict) -> int:
        """The sample of the frame that all items stand at, to which they are brought where they do not."""
        counts = state["count"].tolist()
        if not counts or min(counts) == max(counts):
            return counts[0] if counts else 0
        past = state["past"]
        places = torch.arange(self.frame, device=past.device) + state["count"].to(past.device)[:, None]
        past[..., : self.frame] = past.gather(2, places[:, None].expand(-1, past.shape[1], -1))
        self._carry(past, state["pending"])
        state["count"].zero_()
        return 0

    def _check(self, block, past) -> None:
        expected = (past.shape[0], self.groups * self.inputs)
        if block.ndim != 3 or tuple(block.shape[:2]) != expected:
            raise ValueError(
                f"block has shape {tuple(block.shape)}; expected {(*expected, 'n')}, the batch and the channels of the "
                "state"
            )
        if past.shape[1:] != (expected[1], 2 * self.frame):
            raise ValueError(
                f"the state's past has shape {tuple(past.shape)}; expected {(*expected, 2 * self.frame)}, as of this "
                "layer"
            )

    def _spectrum(self, taps: int, size: int, dtype):
        """The spectrum of the first taps, made in double precision."""
        key = (taps, size, dtype)
        if key not in self._spectra:
            wide = self.taps[..., :taps].to(torch.float32 if self.taps.device.type == "mps" else torch.float64)
            self._spectra[key] = torch.fft.rfft(wide, size).to(dtype)
        return self._spectra[key]

    def _near_matrix(self, dtype):
        """A base block's taps as `(G, O, I, base, base)`, or `(H, base, base)`: from the input in a row to the output
        in a column."""
        if dtype not in self._near:
            taps = torch.nn.functional.pad(self.taps[..., : self.base], (0, max(self.base - self.count, 0)))
            lag = torch.arange(self.base, device=taps.device)
            lag = lag - lag[:, None]
            matrix = (taps[..., lag.clamp(min=0)] * (lag >= 0)).to(dtype)
            self._near[dtype] = matrix[:, 0, 0] if self.depthwise else matrix
        return self._near[dtype]
