"""The kernels' arguments: the structs of csrc/arguments.cuh, field by field."""

from __future__ import annotations

import ctypes

_pointer = ctypes.c_void_p


class Strides(ctypes.Structure):
    """Elements from one batch item, and from one channel, to the next; 0 broadcasts."""

    _fields_ = [("batch", ctypes.c_longlong), ("channel", ctypes.c_longlong)]


class Struct(ctypes.Structure):
    """A kernel's one argument."""

    def copy(self):
        return type(self).from_buffer_copy(self)


class Arguments(Struct):
    """One call of a fused convolution, forward or backward."""

    _fields_ = [
        *[(name, _pointer) for name in (
            "u", "pre_gate", "post_gate", "y", "spectrum", "spectrum_scale", "tables",
            "dy", "du", "dpre_gate", "dpost_gate", "dspectrum", "scratch",
        )],
        *[(name, Strides) for name in (
            "u_strides", "pre_strides", "post_strides", "y_strides",
            "dy_strides", "du_strides", "dpre_strides", "dpost_strides", "filter_strides",
        )],
        *[(name, ctypes.c_int) for name in (
            "channels_per_filter", "planes", "batch", "channels", "length", "out_length", "tiles", "hop", "lead",
            "rows_per_block",
        )],
        ("zero", ctypes.c_uint),
        ("mask", _pointer),
    ]  # fmt: skip


class FilterArguments(Struct):
    """From filter taps to spectra, or from the spectra's gradients to the taps'."""

    _fields_ = [
        *[(name, _pointer) for name in ("k", "d", "spectrum", "scale", "tables", "dspectrum", "dk", "dd")],
        ("tap_strides", Strides),
        *[(name, ctypes.c_int) for name in (
            "filters", "taps", "length", "out_length", "offset", "direction", "circular",
            "channels_per_filter", "planes", "chunks_per_filter", "chunks",
        )],
        ("mask", _pointer),
    ]  # fmt: skip


class OuterArguments(Struct):
    """One pass of the outermost DFT of long rows, from samples to planes or back."""

    _fields_ = [
        *[(name, _pointer) for name in (
            "samples", "gate", "second", "second_gate", "planes", "tile_scales", "row_scales",
        )],
        *[(name, Strides) for name in ("strides", "gate_strides", "second_strides", "second_gate_strides")],
        *[(name, ctypes.c_int) for name in (
            "points", "channels", "length", "first_row", "tiles", "hop", "lead", "span", "offset", "direction",
        )],
    ]  # fmt: skip


class PlaneArguments(Struct):
    """The inner convolutions of long rows, forward or backward."""

    _fields_ = [
        *[(name, _pointer) for name in (
            "u", "y", "spectrum", "spectrum_scale", "tables", "in_scale", "out_scale",
            "g", "g_scale", "dx", "dx_scale", "dspectrum", "scratch",
        )],
        ("strides", Strides),
        ("filter_strides", Strides),
        *[(name, ctypes.c_int) for name in (
            "channels_per_filter", "planes_per_row", "batch", "channels", "rows_per_block",
        )],
        ("zero", ctypes.c_uint),
    ]  # fmt: skip


class TableArguments(Struct):
    """Of the kernel that makes tables: where to."""

    _fields_ = [("tables", _pointer)]


class ShortArguments(Struct):
    """One call of a short depthwise convolution, or of its gradient."""

    _fields_ = [
        *[(name, _pointer) for name in ("x", "pre_gate", "side", "y", "k", "bias", "sums")],
        *[(name, Strides) for name in ("x_strides", "pre_strides", "side_strides", "y_strides")],
        *[(name, ctypes.c_int) for name in (
            "channels_per_filter", "batch", "channels", "length", "out_length", "taps", "reversed", "shift", "lead",
            "first", "tiles", "tiles_per_chunk", "chunks", "chunks_together",
        )],
    ]  # fmt: skip


class ShortSumArguments(Struct):
    """From the sums of chunks to the gradients of taps and bias."""

    _fields_ = [
        *[(name, _pointer) for name in ("sums", "dk", "dbias")],
        *[(name, ctypes.c_longlong) for name in ("chunk_step", "channel_step", "slot_step")],
        *[(name, ctypes.c_int) for name in (
            "chunks", "channels", "channels_per_filter", "filters", "taps", "reversed", "first_slot", "bias_slot",
            "lanes",
        )],
    ]  # fmt: skip


class NormArguments(Struct):
    """One normalisation over channels, or its gradient."""

    _fields_ = [
        *[(name, _pointer) for name in ("x", "dy", "result", "weight", "bias", "sums")],
        *[(name, ctypes.c_int) for name in ("channels", "length", "tiles", "all_tiles", "tiles_per_block")],
        ("eps", ctypes.c_float),
    ]  # fmt: skip
