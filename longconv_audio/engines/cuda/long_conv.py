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
from .specialisations import GRID_Y, Plan, Sizes, plan, plan_backward
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
        number = "fp32" if call.precision == "single" else _NUMBERS[u.dtype]
        plan(Sizes(number, u.shape[-1], place.length), gpu_of(k.device.index))
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


def backward(call: Call, needs, dy, u, k, spectrum, d, pre_gate, post_gate):
    """The gradients of u, k, d and the gates: see `torch_long_conv.backward`. Errors as of `forward`."""
    with torch.cuda.device(u.device):
        return gradients(launcher(_index(u)), call, needs, dy, u, k, d, pre_gate, post_gate)


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
    job = _Job(on, call, place, u, k, d, pre_gate, post_gate, call.precision == "single")
    out = y if y.dtype == job.kind else torch.empty_like(y, dtype=job.kind)
    prepared = 0
    if (
        spectrum is not None
        and d is None
        and not (call.offset or call.correlate)
        and call.mode in ("causal", "circular")
    ):
        prepared = spectrum.shape[-1] - (0 if job.number == "fp32" else _SCALE_WORDS)
    sizes = job.sizes(prepared, out)
    chosen = plan(sizes, on.gpu)
    spectra, scales = _parts(spectrum, prepared, job.number) if prepared else job.spectra(chosen, sizes)
    arguments = job.arguments(chosen, spectra, scales)
    _set_rows(arguments, "y", out)
    _launch_rows(on, chosen, arguments, batch, job.number)
    return y if out is y else y.copy_(out)


def gradients(on, call: Call, needs, dy, u, k, d, pre_gate, post_gate):
    """`backward` on a launcher."""
    batch, inputs, length = u.shape
    owners = (u, k, d, pre_gate, post_gate)
    if not (dy.numel() and u.numel()):
        return tuple(t.new_zeros(t.shape) if need else None for t, need in zip(owners, needs, strict=True))
    need_u, need_k, need_d, need_pre, need_post = needs
    per_item = k.ndim == 3 or (need_d and d.ndim == 2)
    if per_item and batch > GRID_Y:
        return _gradients_in_pieces(on, call, needs, dy, *owners)

    place = window(call.mode, length, k.shape[-1], call.offset, call.correlate)
    try:
        job, sizes, chosen = _plan_gradients(on, call, place, needs, per_item, call.precision == "single", *owners, dy)
    except NoKernelError:  # what half precision has no room for, single precision has
        job, sizes, chosen = _plan_gradients(on, call, place, needs, per_item, True, *owners, dy)
    spectra, scales = job.spectra(chosen, sizes)
    arguments = job.arguments(chosen, spectra, scales)
    dy = _dense(dy.to(job.kind))
    _set_rows(arguments, "dy", dy)

    chunks = -(-batch // chosen.rows_per_block)
    du = u.new_empty(batch, job.channels, length, dtype=job.kind)
    dpre = None if pre_gate is None else torch.empty_like(du)
    dpost = None if post_gate is None else torch.empty_like(dy, memory_format=torch.contiguous_format)
    for name, t in (("du", du), ("dpre_gate", dpre), ("dpost_gate", dpost)):
        if t is not None:
            _set_rows(arguments, name, t)
    sums = scratch = None
    if need_k or need_d or job.number != "fp32":  # the half-precision kernels always make them
        sums = u.new_empty(job.channels, chunks, chosen.points, dtype=torch.complex64)
        arguments.dspectrum = sums.data_ptr()
    if chosen.scratch_bytes:
        scratch = u.new_empty(job.channels * chunks * chosen.scratch_bytes, dtype=torch.uint8)
        arguments.scratch = scratch.data_ptr()
    arguments.batch = batch
    on.launch(chosen.rows, arguments, (job.channels, chunks))

    def of_taps(items: int, filters: int, taps: int, origin: int):
        """The gradient of `taps` taps of each filter, the first of which is number `origin`."""
        made = u.new_empty(items, filters, taps, dtype=torch.float32)
        arguments = job.filter_arguments(
            chosen, sizes, taps, offset=job.offset - origin, filters=filters, dspectrum=sums.data_ptr(),
            dk=made.data_ptr(), channels_per_filter=job.channels // filters, chunks_per_filter=chunks // items,
            chunks=chunks,
        )  # fmt: skip
        on.launch(chosen.gradient, arguments, (-(-filters // chosen.filters_per_block), items))
        return made

    def of_input(t, like):
        """One input of many filters gathers its gradient from all of them."""
        return (t.sum(1, keepdim=True) if inputs < job.channels else t).to(like.dtype)

    dk = dd = None
    if need_k:
        dk = of_taps(batch if k.ndim == 3 else 1, k.shape[-2], k.shape[-1], 0).view(k.shape).to(k.dtype)
    if need_d:  # the skip term is the tap at time zero
        dd = of_taps(batch if d.ndim == 2 else 1, job.channels, 1, place.origin).view(d.shape).to(d.dtype)
    return (
        of_input(du, u) if need_u else None, dk, dd, of_input(dpre, pre_gate) if need_pre else None,
        dpost.to(post_gate.dtype) if need_post else None,
    )  # fmt: skip


def prepare(on, k: torch.Tensor, length: int, circular: bool, precision: str) -> torch.Tensor:
    """`filter_spectrum` on a launcher."""
    call = Call("circular" if circular else "causal", 0, False, precision)
    # Spectra are the same for both 16-bit types.
    u = k.new_empty(1, 1, 0, dtype=torch.float32 if precision == "single" else torch.float16).expand(1, k.shape[-2], 0)
    job = _Job(on, call, Window(0, length, 0), u, k, None, None, None, precision == "single")
    sizes = Sizes(job.number, length, length)
    chosen = plan(sizes, on.gpu)
    spectra, scales = job.spectra(chosen, sizes)
    spectra = spectra.view(*k.shape[:-1], chosen.points)
    if scales is None:
        return spectra
    tail = scales.view(torch.int32).view(*k.shape[:-1], 1).expand(*k.shape[:-1], _SCALE_WORDS)
    return torch.cat([spectra, tail], -1)


# ---- steps


class _Job:
    """One call in the form that kernels take: rows in their type, filters and skip terms in float32.

    Args:
        single: whether the kernels shall be those of single precision.
    """

    def __init__(self, on, call: Call, place: Window, u, k, d, pre_gate, post_gate, single: bool):
        self.on, self.call, self.place = on, call, place
        self.kind = torch.float32 if single else u.dtype
        self.number = "fp32" if single else _NUMBERS[u.dtype]
        self.u, self.pre_gate, self.post_gate = (
            None if t is None else _dense(t.to(self.kind)) for t in (u, pre_gate, post_gate)
        )
        self.batch, inputs, self.length = u.shape
        self.channels = k.shape[-2] if inputs == 1 else inputs
        self.filters, self.skips = _filters(place, k, d, self.batch, self.channels)
        self.direction = -1 if call.correlate else 1
        # Kernels count lags from the first output sample, modes from time zero.
        self.offset = place.origin + self.direction * place.first

    def sizes(self, least_points: int, *others, filter_per_item: bool = False) -> Sizes:
        """The call's, where `others` are rows that take part beside the input and the gates."""
        rows = (self.u, self.pre_gate, self.post_gate, *others)
        return Sizes(
            self.number, self.length, self.place.length, self.batch, self.channels,
            filter_per_item or self.filters.ndim == 3, self.pre_gate is not None, self.post_gate is not None,
            all(_aligned(t) for t in rows), least_points,
        )  # fmt: skip

    def arguments(self, chosen: Plan, spectra, scales) -> Arguments:
        """Of the fused convolution, but for its results."""
        count = self.filters.shape[-2]
        arguments = Arguments(
            spectrum=spectra.data_ptr(), spectrum_scale=_address(scales),
            tables=_tables(self.on, chosen, self.number).data_ptr(),
            filter_strides=Strides(count if self.filters.ndim == 3 else 0, 1),
            channels_per_filter=self.channels // count, channels=self.channels, length=self.length,
            out_length=self.place.length, rows_per_block=chosen.rows_per_block,
        )  # fmt: skip
        for name in ("u", "pre_gate", "post_gate"):
            if getattr(self, name) is not None:
                _set_rows(arguments, name, getattr(self, name))
        return arguments

    def filter_arguments(self, chosen: Plan, sizes: Sizes, taps: int, **fields) -> FilterArguments:
        return FilterArguments(
            tables=_filter_tables(self.on, chosen).data_ptr(), tap_strides=Strides(0, taps), taps=taps,
            length=sizes.length, out_length=sizes.out_length, direction=self.direction,
            circular=self.call.mode == "circular", **fields,
        )  # fmt: skip

    def spectra(self, chosen: Plan, sizes: Sizes):
        """The filters' spectra in the kernel's order, and their scales in half precision."""
        half, taps = self.number != "fp32", self.filters.shape[-1]
        # Filters of all items are a row of filters like any other, so that their number may pass a grid's y axis.
        count = self.filters.numel() // taps
        spectra = self.filters.new_empty(count * chosen.points, dtype=torch.int32 if half else torch.complex64)
        scales = self.filters.new_empty(count) if half else None
        arguments = self.filter_arguments(
            chosen, sizes, taps, k=self.filters.data_ptr(), d=_address(self.skips), spectrum=spectra.data_ptr(),
            scale=_address(scales), filters=count, offset=self.offset, channels_per_filter=1,
        )  # fmt: skip
        self.on.launch(chosen.spectrum, arguments, (-(-count // chosen.filters_per_block), 1))
        return spectra, scales


def _filters(place: Window, k, d, batch: int, channels: int):
    """The filters and, one for each, their taps at lag 0: in float32, dense.

    A skip term that differs between the channels of one filter makes it as many filters, and one that differs between
    batch items makes filters of the items' own.
    """
    k = k.to(torch.float32)
    if d is None:
        return k.contiguous(), None
    d = d.to(torch.float32)
    if d.ndim == 2 and (d.stride(0) == 0 or batch == 1):
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


def _plan_gradients(on, call, place, needs, per_item, single, u, k, d, pre_gate, post_gate, dy):
    job = _Job(on, call, place, u, k, d, pre_gate, post_gate, single)
    sizes = job.sizes(0, _dense(dy.to(job.kind)), filter_per_item=per_item)
    return job, sizes, plan_backward(sizes, on.gpu, needs[1] or needs[2])


def _gradients_in_pieces(on, call, needs, dy, u, k, d, pre_gate, post_gate):
    """The gradients of a batch of which each item has a block of its own, more than a grid has."""
    pieces = []
    for first in range(0, u.shape[0], GRID_Y):
        part = slice(first, first + GRID_Y)
        cut_k = k[part] if k.ndim == 3 else k
        cut_d = d[part] if d is not None and d.ndim == 2 else d
        gates = (None if gate is None else gate[part] for gate in (pre_gate, post_gate))
        pieces.append(gradients(on, call, needs, dy[part], u[part], cut_k, cut_d, *gates))
    du, dk, dd, dpre, dpost = zip(*pieces, strict=True)

    def joined(parts, shared: bool = False):
        return None if parts[0] is None else sum(parts[1:], parts[0]) if shared else torch.cat(parts)

    return joined(du), joined(dk, k.ndim == 2), joined(dd, d is not None and d.ndim == 1), joined(dpre), joined(dpost)


def _tables(on, chosen: Plan, number: str) -> torch.Tensor:
    """The size's tables on the device, made at its first call there."""
    if chosen.tables is None:
        return _filter_tables(on, chosen)

    def make():
        words = chosen.tables_bytes // 4
        made = torch.empty(words, dtype=torch.int32, device=on.device)
        on.launch(chosen.tables, TableArguments(made.data_ptr()), (-(-words // chosen.tables.threads), 1))
        return made

    return on.tables(("single" if number == "fp32" else "half", chosen.factors), make)


def _filter_tables(on, chosen: Plan) -> torch.Tensor:
    """Those of single precision, in which the spectra of filters are made whatever the rows' own."""
    factors = chosen.filter_factors
    return on.tables(("fp32", factors), lambda: torch.from_numpy(single_tables(*factors)).to(on.device))


def _launch_rows(on, chosen: Plan, arguments: Arguments, batch: int, number: str) -> None:
    """The fused convolution, in as many launches as the y axis of a grid makes necessary."""
    rows = chosen.rows_per_block
    step = GRID_Y * rows
    sample = 4 if number == "fp32" else 2
    for first in range(0, batch, step):
        arguments.batch = min(step, batch - first)
        on.launch(chosen.rows, arguments, (arguments.channels, -(-arguments.batch // rows)))
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


def _set_rows(arguments: Arguments, name: str, t) -> None:
    """A tensor of rows, by its address and its strides."""
    strides = Strides(*(0 if n == 1 else s for n, s in zip(t.shape[:2], t.stride()[:2], strict=True)))
    setattr(arguments, name, t.data_ptr())
    setattr(arguments, f"{name.removesuffix('_gate')}_strides", strides)


def _index(t) -> int:
    return t.device.index


def _dense(t):
    """The tensor with its samples next to each other."""
    return t if t.stride(-1) == 1 or t.shape[-1] == 1 else t.contiguous()


def _aligned(t) -> bool:
    """Whether every row starts on 16 bytes and is a multiple of 16 bytes long."""
    if t is None:
        return True
    bytes_of = [t.data_ptr(), t.shape[-1] * t.element_size()]
    bytes_of += [s * t.element_size() for n, s in zip(t.shape[:2], t.stride()[:2], strict=True) if n > 1]
    return all(value % 16 == 0 for value in bytes_of)


def _address(t) -> int | None:
    return None if t is None else t.data_ptr()
