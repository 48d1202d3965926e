"""Long convolution by torch.fft, on any device: the operator's forward and backward pass.

Rows are worked off in chunks of a bounded number of points, so that no spectrum of a whole batch is ever in memory,
and the backward pass computes every spectrum anew. The chunks depend on shapes and the device's kind alone, and sums
run in a fixed order: the result is the same, bit for bit, on every run.

With P the N-point circular convolution matrix of k, E zero padding and W the window, the forward pass is W P(k) E. Its
adjoints are exact transposes and need no larger transform:

    dv = E' P(k)' W' g        through conj(K) G
    dk = E' P(v)' W' g        through conj(V) G, summed over the rows that share a filter

Conjugates are taken with conj_physical: inside an operator that torch.compile traced, a lazy conj() is silently lost.
"""

from __future__ import annotations

import torch

from .selection import Call
from .torch_masked_rows import MaskedJob, masked_transform
from .torch_rows import Job, circular_size, cut, fast_size, filter_transform, fold, take


def why_not(device, precision: str) -> str | None:
    """Why this engine cannot run on the device."""
    if precision == "double" and device.type == "mps":
        return "the device has no double precision"
    return None


def filter_spectrum(call: Call, k: torch.Tensor, length: int, mask=None) -> torch.Tensor:
    """The spectrum of k `(..., K)` for signals of up to `length` samples, or just that many if circular or masked."""
    if mask is not None:
        return masked_transform(call, k, length, mask)
    if call.mode == "circular":
        return filter_transform(fold(k, length, call.precision), circular_size(length), call.precision)
    return filter_transform(k, fast_size(length + k.shape[-1] - 1), call.precision)


def serves(spectrum, made: Call, length: int, call: Call, u, k, d) -> bool:
    """Whether a spectrum that was made for one call is right for another: circular or not is all that matters."""
    return (made.mode == "circular") == (call.mode == "circular")


def _job(call: Call, u, k, spectrum, mask) -> Job:
    return Job(call, u, k, spectrum) if mask is None else MaskedJob(call, u, k, spectrum, mask)


def forward(call: Call, u, k, spectrum, d, pre_gate, post_gate, mask=None) -> torch.Tensor:
    """The convolution with its gates and its skip term.

    Args:
        call: mode, offset, direction and precision.
        u: `(B, H, L)`, or `(B, 1, L)` where each of several filters gets the same input; any strides.
        k: `(F, K)` or `(B, F, K)`; channel h has filter h // (H / F).
        spectrum: k's `filter_spectrum`, or None.
        d: `(H,)`, `(B, H)` or None.
        pre_gate, post_gate: of u's shape and of y's shape, or None.
        mask: the bins to keep, `(M,)`, or None; d is None then.

    Returns:
        `(B, H, length)`, contiguous, with u's dtype.
    """
    job = _job(call, u, k, spectrum, mask)
    y = u.new_empty((u.shape[0], job.channels, job.place.length))
    if not y.numel():
        return y
    us, pre, out, post, ds = job.split(u), job.split(pre_gate), job.split(y), job.split(post_gate), job.split_d(d)
    for _, chunks in job.filters():
        for part, kf in chunks:
            v = job.gated(us, pre, part)
            w = job.collect(job.invert(job.times_filter(job.transform(v), kf)))
            job.add_skip(w, ds, v, part)
            if post is not None:
                w = w.mul_(cut(post, part))
            cut(out, part).copy_(w)
    return y


def backward(call: Call, needs, dy, u, k, spectrum, d, pre_gate, post_gate, mask=None):
    """The gradients of u, k, d and the gates, from y's; `needs` says which are wanted, the others are None.

    Arguments as in `forward`. Each gradient has the shape and the dtype of what it belongs to.
    """
    need_u, need_k, need_d, need_pre, need_post = needs
    owners = (u, k, d, pre_gate, post_gate)
    if not (dy.numel() and u.numel()):
        return tuple(t.new_zeros(t.shape) if need else None for t, need in zip(owners, needs, strict=True))
    job = _job(call, u, k, spectrum, mask)
    us, pre, gs, post, ds = job.split(u), job.split(pre_gate), job.split(dy), job.split(post_gate), job.split_d(d)
    du, dpre, dpost = _empty(u, need_u), _empty(pre_gate, need_pre), _empty(post_gate, need_post)
    du_s, dpre_s, dpost_s = job.split(du), job.split(dpre), job.split(dpost)
    # One input of many filters gathers its gradient from all of them.
    gathered = None
    if us.shape[1] < job.groups and (need_u or need_pre):
        gathered = us.new_zeros(us.shape, dtype=job.dtype)
    dk = k.new_zeros(k.shape, dtype=torch.promote_types(k.dtype, torch.float32)) if need_k else None
    dk_s = job.split_k(dk)
    dd_s = ds.new_zeros(ds.shape, dtype=job.wide) if need_d else None

    for f, chunks in job.filters():
        dk_sum = 0  # of products of spectra, over the rows that share a filter
        for part, kf in chunks:
            v = job.gated(us, pre, part)
            g = cut(gs, part).to(job.dtype)
            v_spectrum = job.transform(v) if need_k or need_post else None
            if need_post:
                w = job.collect(job.invert(job.times_filter(v_spectrum.clone(), kf)))
                job.add_skip(w, ds, v, part)
                cut(dpost_s, part).copy_(w.mul_(g))
            if post is not None:
                g = g * cut(post, part).to(job.dtype)
            if need_d:
                _add_sum(dd_s, (job.at_time_zero(g) * v).sum(-1, keepdim=True, dtype=job.wide), part)
            if not (need_u or need_k or need_pre):
                continue
            g_spectrum = job.transform(job.spread(g))
            if need_k:
                one, other = (g_spectrum, v_spectrum) if job.correlate else (v_spectrum, g_spectrum)
                product = one.conj_physical() * other
                product = product.sum((0, 2) if job.shared else 2, keepdim=True)
                if job.shared:
                    dk_sum = dk_sum + product.to(job.wide_complex)
                else:
                    cut(dk_s, part).add_(job.taps_gradient(product.to(job.wide_complex)))
            if need_u or need_pre:
                dv = job.times_filter(g_spectrum, kf, adjoint=True)
                skip = None if ds is None else job.at_time_zero(g) * cut(ds, part)
                if gathered is not None:
                    dv, skip = dv.sum(1, keepdim=True), None if skip is None else skip.sum(1, keepdim=True)
                dv = take(job.invert(dv), -job.start, job.samples)
                dv = dv if skip is None else dv.add_(skip)
                if gathered is not None:
                    cut(gathered, part).add_(dv)
                else:
                    _through_gate(dv, us, pre, du_s, dpre_s, part)
        if need_k and job.shared:
            dk_s[:, f].copy_(job.taps_gradient(dk_sum))

    if gathered is not None:
        _through_gate(gathered, us, pre, du_s, dpre_s, (slice(None),) * 3)
    dd = dd_s.reshape(d.shape).to(d.dtype) if need_d else None
    return du, dk.to(k.dtype) if need_k else None, dd, dpre, dpost


def prepare(call: Call, needs, u, k, spectrum, d, pre_gate, post_gate, mask=None) -> None:
    """Carries out the call on a GPU, whose library plans transforms at their first use."""
    if u.device.type == "cpu":
        return
    y = forward(call, u, k, spectrum, d, pre_gate, post_gate, mask)
    if any(needs):
        backward(call, needs, y, u, k, spectrum, d, pre_gate, post_gate, mask)


def _empty(t, need: bool):
    """Room for a gradient, contiguous whatever the strides of what it belongs to."""
    return torch.empty(t.shape, dtype=t.dtype, device=t.device) if need else None


def _add_sum(total, x, part):
    """Adds to the part's block, summing over the axes that the total shares."""
    block = cut(total, part)
    block.add_(x.sum_to_size(block.shape))


def _through_gate(dv, us, pre, du, dpre, part):
    """From the gated input's gradient to the input's and the gate's."""
    if dpre is not None:
        cut(dpre, part).copy_(dv * cut(us, part))
    if du is not None:
        cut(du, part).copy_(dv if pre is None else dv * cut(pre, part))
