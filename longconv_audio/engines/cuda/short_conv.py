"""The short depthwise convolution by CUDA kernels: the functions of an engine, see `torch_short_conv`.

Forward, the gradient of the gate and that of u are one kernel: dgate is y with dy for the gate, and du is the
convolution of gate dy with the taps reversed. Where time is dense, rows of 16 bits are multiplied as matrices, for
which gate dy is rounded, but for few taps. In float32, and of few taps in 16 bits, the kernel of du sums the gradients
of taps and bias too, of what it has read anyway.
"""

from __future__ import annotations

import torch

from ..short_call import ShortCall
from . import short_kernels as kernels
from .arguments import ShortArguments, ShortSumArguments
from .launch import launcher
from .operands import cast, row_strides, rows
from .short_jobs import Job, Sums, aligned_to, arguments_of, filters_of, job_of, result_of


def forward(call: ShortCall, u, k, bias, gate) -> torch.Tensor:
    """The convolution with its bias and its gate: see `torch_short_conv.forward`.

    Raises:
        NoKernelError: for more samples than kernels can count.
        CompilerError, LaunchError: where a kernel cannot be compiled, loaded or started.
    """
    index = u.get_device()
    with torch.cuda.device(index):
        return convolve(launcher(index), call, u, k, bias, gate)


def backward(call: ShortCall, needs, dy, u, k, bias, gate):
    """The gradients of u, k, bias and the gate: see `torch_short_conv.backward`. Errors as of `forward`."""
    index = u.get_device()
    with torch.cuda.device(index):
        return gradients(launcher(index), call, needs, dy, u, k, bias, gate)


def convolve(on, call: ShortCall, u, k, bias, gate) -> torch.Tensor:
    """`forward`, on a launcher: something that has `launch`."""
    job = job_of(call, u, None, gate, k, bias, call.samples(u, k), call.start(k), call.correlate)
    return _convolve_channels(on, job) if call.channels_last else _convolve_rows(on, job)


def gradients(on, call: ShortCall, needs, dy, u, k, bias, gate):
    """`backward`, on a launcher."""
    need_u, need_k, need_bias, need_gate = needs
    owners = (u, k, bias, gate)
    if not dy.numel():
        return tuple(t.new_zeros(t.shape) if need else None for t, need in zip(owners, needs, strict=True))
    dy = cast(dy, u.dtype)
    du = sums = dk = dbias = None
    adjoint = job_of(call, dy, gate, None, k, None, call.length(u), call.left, not call.correlate)
    if call.channels_last:
        if need_u:
            du = _convolve_channels(on, adjoint)
        if need_k or need_bias:
            sums = _sum_channels(on, adjoint, u, call.start(k))
    elif adjoint.number != "fp32" and k.shape[1] + _lead(adjoint) > kernels.FUSED_SLOTS:
        if need_u:
            du = _convolve_rows(on, adjoint)
        if need_k or need_bias:
            sums = _sum_products(on, adjoint, u)
    elif need_k or need_bias:
        du, sums = _differentiate_rows(on, adjoint, u)
    elif need_u:
        du = _convolve_rows(on, adjoint)
    if sums is not None:
        dk, dbias = _add_sums(on, sums, k if need_k else None, bias if need_bias else None, call.channels(u), k.shape)
    dgate = convolve(on, call, u, k, bias, dy) if need_gate else None
    return du if need_u else None, dk, dbias, dgate


# ---- time dense


def _convolve_rows(on, job: Job) -> torch.Tensor:
    y, k = result_of(job), filters_of(job)
    if not y.numel():
        return y
    arguments, aligned = _row_arguments(job, job.side, y, k)
    arguments.first, arguments.tiles = arguments.shift, -(-job.samples // kernels.TILE)
    how = job.pre_gate is not None, "none" if job.side is None else "gate", aligned
    if job.number != "fp32":
        _cut_into_chunks(arguments)
        kernel = kernels.products(job.number, arguments.lead + arguments.taps, *how)
    else:
        arguments.tiles_per_chunk, arguments.chunks_together = 1, arguments.tiles
        arguments.chunks = arguments.tiles * arguments.batch
        kernel = kernels.rows(job.number, *how)
    _launch_rows(on, kernel, arguments)
    return y


def _differentiate_rows(on, job: Job, u):
    """The result, and the sums of its products with u."""
    du, k, u = result_of(job), filters_of(job), rows(u, u.dtype)
    arguments, aligned = _row_arguments(job, u, du, k)
    if job.number == "fp32":
        lead = arguments.lead % 4
        slots = reach = -(-(lead + arguments.taps) // kernels.GROUP) * kernels.GROUP
        kernel = kernels.rows(job.number, job.pre_gate is not None, "input", aligned)
    else:
        lead, slots, reach = arguments.lead, kernels.FUSED_SLOTS, kernels.FUSED_SLOTS - 1
        kernel = kernels.products(job.number, slots, job.pre_gate is not None, "input", aligned)
    # The bias' gradient is the sum over all of x, of which du may need a part. A tile's window reaches that far back.
    arguments.first = min(arguments.shift, reach)
    end = max(arguments.shift + job.samples, max(arguments.first, 0) + arguments.length)
    arguments.tiles = -(-(end - arguments.first) // kernels.TILE)
    _cut_into_chunks(arguments)
    values = torch.empty(arguments.chunks, arguments.channels, slots + 1, dtype=torch.float32, device=u.device)
    arguments.sums = values.data_ptr()
    _launch_rows(on, kernel, arguments)
    steps = arguments.channels * (slots + 1), slots + 1, 1
    return du, Sums(values, *steps, lead, slots, job.backwards)


def _sum_products(on, job: Job, u) -> Sums:
    """The sums of the products of the job's result, which is not made, with u."""
    u, slots = rows(u, u.dtype), kernels.MOST_TAPS
    arguments, aligned = _row_arguments(job, u, None, None)
    # Of eight taps that a column of products stands for, the last meets u's first sample seven samples earlier than the
    # first does. Behind, and for the sum over x, the tiles reach as far as there is something to multiply or to add.
    piece = 16 // job.x.element_size()
    arguments.first = min(max(job.start - (kernels.GROUP - 1), 0), slots - kernels.GROUP) // piece * piece
    both = min(job.start + job.samples, arguments.length + slots - kernels.GROUP)
    end = max(both, arguments.first + arguments.length)
    arguments.tiles = -(-(end - arguments.first) // kernels.TILE)
    _cut_into_chunks(arguments)
    values = torch.empty(arguments.chunks, arguments.channels, slots + 1, dtype=torch.float32, device=u.device)
    arguments.sums = values.data_ptr()
    _launch_rows(on, kernels.product_sums(job.number, job.pre_gate is not None, aligned), arguments)
    return Sums(values, arguments.channels * (slots + 1), slots + 1, 1, 0, slots, job.backwards)


def _shift(job: Job) -> int:
    """Where the first output stands in the time of x: at a multiple of 16 bytes, with the taps as much later."""
    piece = 16 // job.x.element_size()
    return -(-job.start // piece) * piece


def _lead(job: Job) -> int:
    """How much later the taps stand for it."""
    return _shift(job) - job.start


def _row_arguments(job: Job, side, y, k):
    """All but how tiles are cut; and whether every row begins on 16 bytes."""
    arguments = arguments_of(job, side, y, k, row_strides)
    arguments.shift, arguments.lead, arguments.reversed = _shift(job), _lead(job), job.backwards
    return arguments, aligned_to(16, row_strides, job.x, job.pre_gate, side, y)


def _cut_into_chunks(arguments: ShortArguments) -> None:
    """By shapes alone, for the order of sums depends on it."""
    chunks = kernels.chunks_of(arguments.tiles * arguments.batch, arguments.channels)
    arguments.tiles_per_chunk, arguments.chunks, arguments.chunks_together = chunks.tiles, chunks.number, 1


def _launch_rows(on, kernel, arguments: ShortArguments) -> None:
    counts = arguments.length, arguments.out_length + abs(arguments.shift), arguments.tiles * arguments.batch
    on.launch(kernel, arguments, (kernels.blocks_of(arguments.channels * arguments.chunks, *counts), 1))


# ---- channels dense


def _convolve_channels(on, job: Job) -> torch.Tensor:
    y, k = result_of(job), _taps_by_lag(job)
    if y.numel():
        arguments, aligned = _channel_arguments(job, job.side, y, k)
        arguments.tiles = -(-job.samples // kernels.times_of_channels(arguments.taps))
        warps = kernels.warps_of_channels(job.number, arguments.channels) * arguments.tiles * arguments.batch
        blocks = kernels.blocks_of(warps, arguments.length, arguments.out_length)
        kernel = kernels.channels(job.number, arguments.taps, job.pre_gate is not None, job.side is not None, aligned)
        on.launch(kernel, arguments, (blocks, 1))
    return y


def _sum_channels(on, job: Job, u, start: int) -> Sums:
    """The sums of the products of the job's x with u, from where the forward pass starts."""
    u = rows(u, u.dtype)
    arguments, aligned = _channel_arguments(job, u, None, None)
    arguments.length, arguments.out_length, arguments.shift = u.shape[1], job.x.shape[1], start
    arguments.tiles = -(-arguments.out_length // kernels.TIMES)
    sets = kernels.warps_of_channels(job.number, arguments.channels) * -(-arguments.taps // kernels.GROUP)
    # What a chunk leaves lies far from what the next one does: fewer of them are added up faster.
    chunks = kernels.chunks_of(arguments.tiles * arguments.batch, 2 * sets)
    arguments.tiles_per_chunk, arguments.chunks = chunks.tiles, chunks.number
    slots, channels = arguments.taps + 1, arguments.channels
    values = torch.empty(chunks.number, slots, channels, dtype=torch.float32, device=u.device)
    arguments.sums = values.data_ptr()
    counts = arguments.length, arguments.out_length, arguments.tiles * arguments.batch
    blocks = kernels.blocks_of(sets * chunks.number, *counts)
    on.launch(kernels.channel_sums(job.number, job.pre_gate is not None, aligned), arguments, (blocks, 1))
    return Sums(values, slots * channels, 1, channels, 0, arguments.taps, not job.backwards)


def _channel_arguments(job: Job, side, y, k):
    """All but how tiles are cut; and whether the 16-bit samples of two channels can be read together."""
    arguments = arguments_of(job, side, y, k, _time_strides)
    arguments.shift = job.start
    even = arguments.channels * job.x.element_size() % 4 == 0
    return arguments, even and aligned_to(4, _time_strides, job.x, job.pre_gate, side, y)


def _time_strides(t) -> tuple[int, int]:
    """Elements from one batch item, and from one time, to the next; 0 where there is no next."""
    batch, time, _ = t.stride()
    items, samples, _ = t.shape
    return (0 if items == 1 else batch, 0 if samples == 1 else time)


def _taps_by_lag(job: Job) -> torch.Tensor:
    """(taps, channels), dense."""
    k = filters_of(job)
    k = k.flip(-1) if job.backwards else k
    filters, taps = k.shape
    return k.t()[..., None].expand(taps, filters, job.channels // filters).reshape(taps, -1).contiguous()


# ---- both


def _add_sums(on, sums: Sums, k, bias, channels: int, filters_shape):
    """The gradients of k and bias, None for None."""
    filters, taps = filters_shape
    dk, dbias = (None if t is None else torch.empty(t.shape, dtype=torch.float32, device=t.device) for t in (k, bias))
    arguments = ShortSumArguments(
        sums=sums.values.data_ptr(), chunk_step=sums.chunk_step, channel_step=sums.channel_step,
        slot_step=sums.slot_step, chunks=sums.values.shape[0], channels=channels,
        channels_per_filter=channels // filters, filters=filters, taps=taps, reversed=sums.backwards,
        first_slot=sums.first_slot, bias_slot=sums.bias_slot,
    )  # fmt: skip
    results = 0
    if dk is not None:
        arguments.dk, results = dk.data_ptr(), results + filters * taps
    if dbias is not None:
        arguments.dbias, results = dbias.data_ptr(), results + channels
    arguments.lanes = kernels.lanes_of_sum(arguments.chunks)
    on.launch(kernels.SUM, arguments, (kernels.blocks_of(-(-results * arguments.lanes // 32)), 1))
    return None if dk is None else cast(dk, k.dtype), None if dbias is None else cast(dbias, bias.dtype)
