"""The long convolution of a batch of signals, with gates and a skip term, for training and for inference.

    y = post_gate * (conv(u * pre_gate, k) + d * (u * pre_gate))

In contrast to `longconv_audio.functional` this is one registered operator: torch.compile, autograd, vmap and autocast
know it, nothing that it shares is copied, and its backward pass computes spectra anew instead of keeping them.
"""

from __future__ import annotations

import torch

from .arguments import (
    PRECISIONS,
    autocast,
    broadcast,
    check_filter,
    check_mask,
    check_mask_holds,
    check_offset,
    check_options,
    check_tensors,
    default_precision,
    integer,
)
from .engines.selection import Call, choose, engine_module
from .frequency_mask import FrequencyMask
from .operators import long_conv_op, output_shape, prepare_op, within_memory
from .windows import window


def long_conv(
    u: torch.Tensor,
    k: torch.Tensor | FilterSpectrum,
    *,
    d: torch.Tensor | None = None,
    pre_gate: torch.Tensor | None = None,
    post_gate: torch.Tensor | None = None,
    mode: str = "causal",
    offset: int = 0,
    correlate: bool = False,
    mask: FrequencyMask | None = None,
    precision: str | None = None,
    engine: str | None = None,
) -> torch.Tensor:
    """Convolves each channel of a batch with a long filter, between two gates and beside a skip term.

    Args:
        u: the signals, `(B, H, L)`, any strides; float16, bfloat16, float32 or float64. L may be 0.
        k: the filters, `(F, K)` for all batch items or `(B, F, K)` for each its own, with F = H (a filter for each
            channel), a divisor of H (channel h has filter `h // (H / F)`) or 1; where u is `(B, 1, L)`, any F: many
            filters on one input, and H = F below. Any float dtype: with a half-precision u, keep k in float32. Or a
            `FilterSpectrum`.
        d: the weight of the skip term, `(H,)`, `(B, H)` or a scalar.
        pre_gate: multiplies the input; a shape that broadcasts with u's, and u's dtype.
        post_gate: multiplies the output; a shape that broadcasts to y's, and u's dtype.
        mode: which samples are returned. "causal": times 0 to L - 1. "full": all L + K - 1, of which the first is
            at time `-offset`. "same": the middle L of those, for a filter that stands centred. "circular": L samples,
            time running in a circle of L; a longer filter wraps.
        offset: the tap that stands at time zero, 0 to K - 1: 0 for a causal filter, (K - 1) // 2 for one with equally
            many taps on both sides. With "same", where tap (K - 1) // 2 stands at time zero anyway, it advances the
            filter further. In "full" it changes no sample, only what time zero is, where the skip term is added.
        correlate: runs the filter backwards in time: `y(t) = sum of k[j] u(t + j - offset)`; "full" then begins at
            time `offset - (K - 1)`.
        mask: the part of the spectrum that the filters keep (`sparsify`, `band`); rows have up to its points, in and
            out. What is left of a filter goes round a circle: y = Re T^-1(mask T(k) T(u)) on the mask's points (see
            `longconv_audio.frequency_mask`). The skip term is not masked. Blocks that are not kept save work in half
            precision on the fused kernels.
        precision: "half" (float16 or bfloat16 operands), "single" or "double"; sums are in float32 at least. By
            default half for half inputs, single for float32, double for float64. The fused kernels cast wider signals,
            gates and gradients: to float16 in half precision, where magnitudes above 65504 become infinite.
        engine: "torch" (torch.fft, any device), "cuda" (the fused kernels), or None for the fastest at hand.

    Returns:
        y, `(B, H, samples)`, contiguous, with u's dtype. Where L is 0, no samples.

    Raises:
        TypeError: for what is no dense tensor of floats, gates of another dtype, an offset that is no integer, a mask
            that is no FrequencyMask.
        ValueError: for shapes and devices that do not fit, an offset outside the filter, an unknown mode, rows longer
            than the mask's points.
        EngineUnavailableError: (a RuntimeError) where the engine asked for cannot run.

    Gradients flow to u, k, d and both gates, and through them once more. Saved for them are these arguments, no
    spectrum. Forward-mode derivatives (torch.func.jvp, dual tensors) are those of the call and of its gradients, but
    not of one another. In compiled code, torch.func's derivatives break the graph. Repeated on the same device, a call
    gives the same, bit for bit; devices and engines differ by rounding. In single precision finite samples give finite
    results where N sum|u| sum|k|, for the N points of a transform, is below 3e38: its sums can grow that far. Under
    autocast u and the gates are cast, k and d never.

    >>> u, k = torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[4.0, 5.0]])
    >>> long_conv(u, k).round(decimals=4)
    tensor([[[ 4., 13., 22.]]])
    >>> long_conv(u, k, offset=1, d=torch.tensor([100.0])).round(decimals=4)
    tensor([[[113., 222., 315.]]])
    """
    arguments = _checked(u, k, d, pre_gate, post_gate, mode, offset, correlate, mask, precision, engine)
    _, _, _, d, _, _, kept, *_ = arguments
    return long_conv_op(*arguments) if d is None or kept is None else _beside_skip_term(*arguments)


def _beside_skip_term(u, k, spectrum, d, pre_gate, post_gate, mask, mode, offset, correlate, *rest) -> torch.Tensor:
    """A masked convolution with a skip term, which no mask shall touch: a sum of two."""
    y = long_conv_op(u, k, spectrum, None, pre_gate, post_gate, mask, mode, offset, correlate, *rest)
    skip = d.unsqueeze(-1) * u if pre_gate is None else d.unsqueeze(-1) * u * pre_gate
    if mode == "full" and u.shape[-1]:
        place = window(mode, u.shape[-1], k.shape[-1], offset, correlate)
        skip = torch.nn.functional.pad(skip, (-place.first, place.length + place.first - u.shape[-1]))
    return (y + (skip if post_gate is None else skip * post_gate)).to(u.dtype)


def prepare(
    u: torch.Tensor,
    k: torch.Tensor | FilterSpectrum,
    *,
    d: torch.Tensor | None = None,
    pre_gate: torch.Tensor | None = None,
    post_gate: torch.Tensor | None = None,
    mode: str = "causal",
    offset: int = 0,
    correlate: bool = False,
    mask: FrequencyMask | None = None,
    precision: str | None = None,
    engine: str | None = None,
    backward: bool = False,
    autotune: bool = False,
) -> None:
    """Does ahead what the first call of `long_conv` with such arguments does: compiles and loads kernels, makes tables.

    A CUDA graph can capture a call only after this (or after a call), and a training loop's first step is then as fast
    as the others. What counts are shapes, strides, dtypes and device; the samples do not.

    Args:
        u, k, d, pre_gate, post_gate, mode, offset, correlate, mask, precision, engine: as for `long_conv`. Within
            autocast, where the call will be.
        backward: prepares for the gradients too, of those arguments that require one, given that y's is contiguous.
        autotune: times the two or three best plans for the call, and with `backward` for its gradients, on the device,
            and has later calls of the same shapes in this process take the fastest. It is kept in the user's cache
            folder too, where the next process that asks for autotune finds it. There is something to choose where the
            fused kernels convolve rows that no block holds, with filters whose spectra are not prepared; elsewhere this
            does nothing. Another plan rounds differently.

    Raises:
        ValueError: where `backward` is asked for and no argument requires a gradient; and as `long_conv`.
        CudaEngineError: (a RuntimeError) where a kernel cannot be compiled or loaded.

    >>> u, k = torch.ones(2, 3, 100), torch.ones(3, 50, requires_grad=True)
    >>> prepare(u, k, backward=True)
    """
    tensors = (u, k, d, pre_gate, post_gate)
    needs = [backward and isinstance(t, torch.Tensor) and t.requires_grad for t in tensors]
    if backward and not any(needs):
        raise ValueError("backward is True and no argument requires a gradient; expected one, or backward=False")
    u, k, spectrum, d, pre_gate, post_gate, kept, *options = _checked(
        *tensors, mode, offset, correlate, mask, precision, engine
    )
    if kept is not None:  # the skip term is beside the operator
        d, needs[2] = None, False
    prepare_op(needs, u, k, spectrum, d, pre_gate, post_gate, kept, *options, autotune=autotune)


def _checked(u, k, d, pre_gate, post_gate, mode, offset, correlate, mask, precision, engine):
    """The arguments of `long_conv` as the operator takes them."""
    prepared = k if isinstance(k, FilterSpectrum) else None
    if prepared is not None:
        if mask is not None:
            raise ValueError("mask goes with a FilterSpectrum; expected it where that was made, and none here")
        k, mask = prepared.k, prepared.mask
    check_tensors(
        u=u, **{"k" if prepared is None else "FilterSpectrum": k}, d=d, pre_gate=pre_gate, post_gate=post_gate
    )
    check_mask(mask, u.device)
    check_options(mode, correlate, precision, engine)
    u, pre_gate, post_gate = autocast(u, pre_gate, post_gate)
    u, k, d, pre_gate, post_gate = broadcast(u, k, d, pre_gate, post_gate, mode)
    offset = check_offset(offset, k)
    if mask is not None:
        check_mask_holds(mask, u.shape[-1], output_shape(u, k, mode)[-1])
    spectrum = None
    if prepared is None:
        precision = precision or default_precision(u.dtype)
    else:
        precision, engine, spectrum = prepared.serve(u, k, d, mode, offset, correlate, precision, engine)
    kept = None if mask is None else mask.bins
    return u, k, spectrum, d, pre_gate, post_gate, kept, mode, offset, correlate, precision, engine


class FilterSpectrum:
    """The spectra of filters, computed once and used for many calls of `long_conv` in place of k.

    Args:
        k: the filters, `(F, K)` or `(B, F, K)`, as for `long_conv`. They get no gradient, and a copy of them is kept:
            what becomes of k later changes nothing.
        length: the samples of the longest signal. Shorter ones are served too, though not faster.
        mode, offset, correlate: those of the calls. "circular" serves circular convolutions, of exactly `length`
            samples. Any other mode stands for the three that are not circular, and whatever the offset and direction;
            but only torch.fft uses one spectrum for all of these. In one of the fused kernels each tap has its lag,
            and a skip term is a tap: they use it for calls with this mode, offset and direction and without d (and
            for "full" ones, where it was made for "causal" at offset 0), as long as these are cut as those of `length`
            samples are: in one block, in one transform, or in tiles. Other calls are as right, and make a spectrum of
            their own.
        mask: as for `long_conv`, and given here alone. With one, the spectrum is used for calls with this mode, offset
            and direction on exactly `length` samples.
        precision: that of the convolutions; by default what `long_conv` chooses for a signal of k's dtype: with k in
            float32, half-precision signals are convolved in single. It must not be coarser than what is wanted of a
            call.
        engine: as for `long_conv`. Calls that use the spectrum run on the engine that made it.

    Raises:
        TypeError, ValueError: where k requires a gradient, and as `long_conv`.
        EngineUnavailableError: (a RuntimeError) where the engine asked for cannot run.

    It can be copied and pickled, and `to` moves it; on the device where it then is, the spectrum is made anew.

    >>> spectrum = FilterSpectrum(torch.tensor([[4.0, 5.0]]), length=3)
    >>> long_conv(torch.tensor([[[1.0, 2.0, 3.0]]]), spectrum).round(decimals=4)
    tensor([[[ 4., 13., 22.]]])
    """

    def __init__(
        self,
        k: torch.Tensor,
        length: int,
        *,
        mode: str = "causal",
        offset: int = 0,
        correlate: bool = False,
        mask: FrequencyMask | None = None,
        precision: str | None = None,
        engine: str | None = None,
    ):
        check_tensors(k=k)
        check_filter(k)
        check_options(mode, correlate, precision, engine)
        length = integer("length", length, "the number of samples of a signal")
        if length < 1:
            raise ValueError(f"length is {length}; expected the number of samples of a signal, at least 1")
        check_mask(mask, k.device)
        check_mask_holds(mask, length, window(mode, length, k.shape[-1]).length)
        _check_constant(k)
        self.mask = mask
        self.length, self._asked = length, engine
        self.call = Call(mode, check_offset(offset, k), correlate, precision or default_precision(k.dtype))
        with torch.inference_mode(False), torch.no_grad():
            self.k = k.detach().clone()
            prepare = _spectrum if k.device.type == "cpu" else _spectrum_uncompiled
            kept = None if mask is None else mask.bins
            self.engine, self.spectrum = prepare(self.k, length, self.call, kept, engine)

    @property
    def device(self) -> torch.device:
        """Where the filters and their spectrum are."""
        return self.k.device

    def to(self, device) -> FilterSpectrum:
        """The same for signals on another device, prepared there anew; this one, where it is there."""
        k = self.k.to(device)
        return self if k is self.k else _made_for(k, self.length, self.call, self._asked, self.mask)

    def __reduce__(self):
        return _made_for, (self.k, self.length, self.call, self._asked, self.mask)

    def serve(self, u, k, d, mode: str, offset: int, correlate: bool, precision: str | None, engine: str | None):
        """For a call: precision, engine and spectrum, which is None where the engine needs another for it.

        Raises:
            ValueError: for a call that this was not prepared for.
        """
        made = self.call
        if (made.mode == "circular") != (mode == "circular"):
            prepared = "circular" if made.mode == "circular" else "causal, full and same"
            raise ValueError(f"mode is {mode!r} and the FilterSpectrum was prepared for {prepared}: prepare another")
        length = u.shape[-1]
        if length != 0 and (length > self.length or (mode == "circular" and length != self.length)):
            expected = f"{'' if mode == 'circular' else 'at most '}{self.length}"
            raise ValueError(
                f"u has shape {tuple(u.shape)} and the FilterSpectrum was prepared for {expected} samples: "
                "prepare another"
            )
        wanted = precision or default_precision(u.dtype)
        if PRECISIONS.index(wanted) > PRECISIONS.index(made.precision):
            raise ValueError(
                f"precision is {wanted!r} and the FilterSpectrum was prepared in {made.precision!r}: "
                f"prepare it with precision={wanted!r}"
            )
        if engine is not None and engine != self.engine:
            raise ValueError(f"engine is {engine!r} and the FilterSpectrum was prepared for {self.engine!r}")
        call = Call(mode, offset, correlate, made.precision)
        if length == 0 or self.spectrum is None:
            return made.precision, engine, None
        if self.mask is not None and (call != made or length != self.length):
            return made.precision, engine, None
        skip = d if self.mask is None else None  # beside a masked convolution, not in it
        if not engine_module(self.engine).serves(self.spectrum, made, self.length, call, u, k, skip):
            return made.precision, engine, None
        spectrum = self.spectrum.squeeze(0) if self.spectrum.ndim > k.ndim else self.spectrum
        return made.precision, self.engine, spectrum

    def __repr__(self) -> str:
        kind = "circular, " if self.call.mode == "circular" else "up to "
        return f"FilterSpectrum(k {tuple(self.k.shape)}, {kind}{self.length} samples, {self.call.precision})"


# The dtype of a signal that is convolved in a precision.
_SIGNALS = {"half": torch.float16, "single": torch.float32, "double": torch.float64}


def _spectrum(k, length: int, call: Call, mask, engine: str | None):
    """The engine's name, and the spectrum: None where there are no filters."""
    u = torch.empty(1, 1, length, dtype=_SIGNALS[call.precision], device="meta")
    name, module = choose(engine, k.device, call.precision, call, u, k, mask)
    return name, within_memory(None, k, module.filter_spectrum, call, k, length, mask) if k.numel() else None


# Kernels that are launched from Python are nothing to trace.
_spectrum_uncompiled = torch.compiler.disable(_spectrum)


def _check_constant(k) -> None:
    """Raises ValueError for filters that are to get derivatives."""
    if k.requires_grad and torch.is_grad_enabled():
        wants = "requires a gradient"
    elif torch.autograd.forward_ad._current_level >= 0 and torch.autograd.forward_ad.unpack_dual(k).tangent is not None:
        wants = "has a tangent"
    else:
        return
    raise ValueError(
        f"k of shape {tuple(k.shape)} {wants}, which a prepared spectrum does not pass on: "
        "pass k itself to long_conv, or k.detach() here"
    )


def _made_for(k, length: int, call: Call, engine: str | None, mask: FrequencyMask | None = None) -> FilterSpectrum:
    """One for the call: made on k's device, also where a copy or a loaded file finds another than it came from."""
    mode, offset, correlate, precision = call
    return FilterSpectrum(
        k, length, mode=mode, offset=offset, correlate=correlate, mask=None if mask is None else mask.to(k.device),
        precision=precision, engine=engine,
    )  # fmt: skip
