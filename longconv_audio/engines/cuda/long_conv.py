"""The long convolution by fused kernels: the functions of an engine, as `engines.selection` wants them.

A filter's spectrum is made anew by each call, in a kernel of its own, unless one was prepared: it depends on the mode,
the offset and the skip term, which is a tap like the others, as well as on the taps.
"""

from __future__ import annotations

import torch

from ...windows import Window, window
from ..selection import Call
from .arguments import Arguments, FilterArguments, Strides, TableArguments
from .errors import NoKernelError
from .gpus import gpu_of
from .launch import available, launcher
from .specialisations import GRID_Y, Plan, Sizes, plan
from .tables import single_tables

_NUMBERS = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}
_SCALE_WORDS = 4  # behind a prepared half-precision spectrum: its scale, and what keeps rows on 16 bytes


def why_not(device, precision: str) -> str | None:
    """Why this engine cannot run on the device."""
    if precision == "double":
        return "the fused kernels are in half and single precision, not in double"
    return available(device)


def why_not_call(call: Call, u, k) -> str | None:
    """Why this engine, which can run on the device, has no kernel for a call; None where it has."""
    if call.precision == "half" and u.dtype not in (torch.float16, torch.bfloat16):
        return f"precision is 'half' and u {u.dtype}; the fused kernels take float16 or bfloat16 then"
    if u.dtype == torch.float64:
        return f"precision is {call.precision!r} and u torch.float64; the fused kernels take float32 at most"
    if not u.numel():
        return None
    place = window(call.mode, u.shape[-1], k.shape[-1], call.offset, call.correlate)
    try:
        plan(Sizes(_number(call, u), u.shape[-1], place.length), gpu_of(_index(u)))
    except NoKernelError as error:
        return str(error)
    return None


def forward(call: Call, u, k, spectrum, d, pre_gate, post_gate) -> torch.Tensor:
    """The convolution with its gates and its skip term: see `torch_long_conv.forward`.

    Raises:
        NoKernelError: where `why_not_call` has a reason.
        CompilerError, LaunchError: where a kernel cannot be compiled, loaded or started.
    """
    with torch.cuda.device(u.device):
        return convolve(launcher(_index(u)), call, u, k, spectrum, d, pre_gate, post_gate)


def filter_spectrum(k: torch.Tensor, length: int, circular: bool, precision: str) -> torch.Tensor:
    """The spectra of k `(..., K)`, for signals of up to `length` samples, or exactly that many if circular.

    They serve convolutions that are causal or circular, at offset 0 and without a skip term; a call that is anything
    else makes its own.
    """
    with torch.cuda.device(k.device):
        return prepare(launcher(_index(k)), k, length, circular, precision)


# ---- the same with any launcher: one that has `gpu`, `launch` and `tables`


def convolve(on, call: Call, u, k, spectrum, d, pre_gate, post_gate) -> torch.Tensor:
    """`forward` on a launcher."""
    batch, inputs, length = u.shape
    channels = k.shape[-2] if inputs == 1 else inputs
    place = Window(0, 0, 0) if not length else window(call.mode, length, k.shape[-1], call.offset, call.correlate)
    y = u.new_empty(batch, channels, place.length)
    if not y.numel():
        return y
    number, kind = _number(call, u), torch.float32 if call.precision == "single" else u.dtype
    rows = [None if t is None else _dense(t.to(kind)) for t in (u, pre_gate, post_gate)]
    out = y if y.dtype == kind else torch.empty_like(y, dtype=kind)

    filters, skips = _filters(call, place, k, d, batch, channels)
    per_item = filters.ndim == 3
    prepared = 0
    if (
        spectrum is not None
        and d is None
        and not (call.offset or call.correlate)
        and call.mode in ("causal", "circular")
    ):
        prepared = spectrum.shape[-1] - (_SCALE_WORDS if number != "fp32" else 0)
    sizes = Sizes(
        number, length, place.length, batch, channels, per_item, pre_gate is not None, post_gate is not None,
        all(_aligned(t) for t in (*rows, out)), prepared,
    )  # fmt: skip
    chosen = plan(sizes, on.gpu)
    if prepared:
        spectra, scales = _parts(spectrum, prepared, number)
    else:
        spectra, scales = _spectra(on, chosen, sizes, call, place, filters, skips)

    arguments = Arguments(
        y=out.data_ptr(), y_strides=_strides(out), spectrum=spectra.data_ptr(), spectrum_scale=_address(scales),
        tables=_tables(on, chosen, number).data_ptr(), filter_strides=Strides(filters.shape[-2] if per_item else 0, 1),
        channels_per_filter=channels // filters.shape[-2], channels=channels, length=length, out_length=place.length,
        rows_per_block=chosen.rows_per_block,
    )  # fmt: skip
    for t, name, strides in zip(rows, ("u", "pre_gate", "post_gate"), ("u", "pre", "post"), strict=True):
        if t is not None:
            setattr(arguments, name, t.data_ptr())
            setattr(arguments, f"{strides}_strides", _strides(t))
    _launch_rows(on, chosen, arguments, batch, number)
    return y if out is y else y.copy_(out)


def prepare(on, k: torch.Tensor, length: int, circular: bool, precision: str) -> torch.Tensor:
    """`filter_spectrum` on a launcher."""
    call = Call("circular" if circular else "causal", 0, False, precision)
    number = "fp32" if precision == "single" else "bf16" if k.dtype == torch.bfloat16 else "fp16"
    sizes = Sizes(number, length, length)
    chosen = plan(sizes, on.gpu)
    spectra, scales = _spectra(on, chosen, sizes, call, Window(0, length, 0), k.to(torch.float32).contiguous(), None)
    spectra = spectra.view(*k.shape[:-1], chosen.points)
    if scales is None:
        return spectra
    tail = scales.view(torch.int32).view(*k.shape[:-1], 1).expand(*k.shape[:-1], _SCALE_WORDS)
    return torch.cat([spectra, tail], -1)


# ---- steps


def _filters(call: Call, place: Window, k, d, batch: int, channels: int):
    """The filters and, one for each, their taps at lag 0: in float32, dense.

    A skip term that differs between the channels of one filter makes it as many filters, and one that differs between
    batch items makes filters of the items' own.
    """
    k = k.to(torch.float32)
    if d is None:
        return k.contiguous(), None
    d = d.to(torch.float32)
    if d.ndim == 2 and d.shape[0] > 0 and (d.stride(0) == 0 or batch == 1):
        d = d[0]
    if d.ndim == 2 and k.ndim == 2:
        k = k.expand(batch, *k.shape)
    if k.ndim == 3 and d.ndim == 1:
        d = d.expand(batch, channels)
    if k.shape[-2] != channels:
        if d.stride(-1) == 0:
            d = d[..., : k.shape[-2]]
        else:
            k = k.repeat_interleave(channels // k.shape[-2], dim=-2)
    if place.first:
        # The output begins at another time than the input, so lag 0 is not where the skip term belongs. The tap at
        # time zero is.
        k = k.clone(memory_format=torch.contiguous_format)
        k[..., place.origin] += d
        return k, None
    return k.contiguous(), d.contiguous()


def _spectra(on, chosen: Plan, sizes: Sizes, call: Call, place: Window, filters, skips):
    """The filters' spectra in the kernel's order, and their scales in half precision."""
    count, taps = filters.numel() // filters.shape[-1], filters.shape[-1]
    half = sizes.number != "fp32"
    spectra = filters.new_empty(count * chosen.points, dtype=torch.int32 if half else torch.complex64)
    scales = filters.new_empty(count) if half else None
    direction = -1 if call.correlate else 1
    # Filters of all items are a row of filters like any other, so that their number may pass a grid's y axis.
    arguments = FilterArguments(
        k=filters.data_ptr(), d=_address(skips), spectrum=spectra.data_ptr(), scale=_address(scales),
        tables=None if half else _tables(on, chosen, sizes.number).data_ptr(), tap_strides=Strides(0, taps), filters=count, taps=taps,
        length=sizes.length, out_length=sizes.out_length, offset=place.origin + direction * place.first,
        direction=direction, circular=call.mode == "circular", channels_per_filter=1,
    )  # fmt: skip
    on.launch(chosen.spectrum, arguments, (-(-count // chosen.filters_per_block), 1))
    return spectra, scales


def _tables(on, chosen: Plan, number: str) -> torch.Tensor:
    """The size's tables on the device, made at its first call there."""

    def make():
        if chosen.tables is None:
            return torch.from_numpy(single_tables(*chosen.factors)).to(on.device)
        words = chosen.tables_bytes // 4
        made = torch.empty(words, dtype=torch.int32, device=on.device)
        on.launch(chosen.tables, TableArguments(made.data_ptr()), (-(-words // chosen.tables.threads), 1))
        return made

    return on.tables((number, chosen.factors), make)


def _launch_rows(on, chosen: Plan, arguments: Arguments, batch: int, number: str) -> None:
    """The fused convolution, in as many launches as the y axis of a grid makes necessary."""
    rows = chosen.rows_per_block
    step = GRID_Y * rows
    sample = 4 if number == "fp32" else 2
    for first in range(0, batch, step):
        arguments.batch = min(step, batch - first)
        on.launch(chosen.forward, arguments, (arguments.channels, -(-arguments.batch // rows)))
        for name, strides in (("u", "u"), ("pre_gate", "pre"), ("post_gate", "post"), ("y", "y")):
            address = getattr(arguments, name)
            if address is not None:
                moved = address + step * getattr(arguments, f"{strides}_strides").batch * sample
                setattr(arguments, name, moved)
        moved = step * arguments.filter_strides.batch
        arguments.spectrum += moved * chosen.points * chosen.point_bytes
        if arguments.spectrum_scale is not None:
            arguments.spectrum_scale += moved * 4


def _parts(spectrum, points: int, number: str):
    """A prepared spectrum as the kernels want it."""
    if number == "fp32":
        return spectrum.contiguous(), None
    return spectrum[..., :points].contiguous(), spectrum[..., points].contiguous().view(torch.float32)


def _number(call: Call, u) -> str:
    return "fp32" if call.precision == "single" else _NUMBERS[u.dtype]


def _index(t) -> int:
    return t.device.index


def _dense(t):
    """The tensor with its samples next to each other."""
    return t if t.stride(-1) == 1 or t.shape[-1] == 1 else t.contiguous()


def _strides(t) -> Strides:
    return Strides(*(0 if n == 1 else s for n, s in zip(t.shape[:2], t.stride()[:2], strict=True)))


def _aligned(t) -> bool:
    """Whether every row starts on 16 bytes and is a multiple of 16 bytes long."""
    if t is None:
        return True
    bytes_of = [t.data_ptr(), t.shape[-1] * t.element_size()]
    bytes_of += [s * t.element_size() for n, s in zip(t.shape[:2], t.stride()[:2], strict=True) if n > 1]
    return all(value % 16 == 0 for value in bytes_of)


def _address(t) -> int | None:
    return None if t is None else t.data_ptr()
