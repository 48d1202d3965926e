"""Choosing how to convolve: pure functions of shapes, latency, precision and a device. No tensor, no torch.

streams        plans of a stream on a CPU, for files and blocks, and where modes put their output
convolutions   plans of a long convolution on a GPU: what can be done, what it costs, what is best
plans          what such a plan is, and how it reads
devices        the rates and limits of GPUs, of those that are not here too
kernels        the transforms that there are kernels for
work           bytes and operations, in closed form, of rows that a block holds; long_work   of those that none holds;
               torch_work   of torch.fft
cost           seconds of such work on a device

The names load on first use: whoever plans a stream needs no GPU's tables.
"""

from longconv_audio.lazy import lazy_names

_HOME = {
    "LATENCIES": "streams",
    "MODES": "streams",
    "Segment": "streams",
    "StreamPlan": "streams",
    "fast_sizes": "streams",
    "fft_nanoseconds": "streams",
    "output_window": "streams",
    "plan_overlap_save": "streams",
    "plan_stream": "streams",
    "plan": "convolutions",
    "candidates": "convolutions",
    "Plan": "plans",
    "DEVICES": "devices",
    "Device": "devices",
    "device_named": "devices",
}

__all__ = sorted(_HOME)

__getattr__, __dir__ = lazy_names(__name__, _HOME)
