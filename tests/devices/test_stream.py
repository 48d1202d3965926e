"""Streams on a device, and the way there and back, on torch's CPU."""

import numpy as np
import pytest
import scipy.signal
import torch

from longconv_audio import backends
from longconv_audio.devices import host_link
from longconv_audio.devices.backend import DeviceBackend
from longconv_audio.operators import DeviceMemoryError
from longconv_audio.routing import from_array
from longconv_audio.streaming import Convolver
from tests.measures import REQUIRED, snr

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=["float32", "float64"])
def backend(request):
    return DeviceBackend(torch.device("cpu"), np.dtype(request.param))


def required(backend) -> float:
    return REQUIRED[str(backend.zeros(1, 1).dtype).removeprefix("torch.")]


def test_files_in_blocks_of_any_size(rng, backend):
    x, h = rng.standard_normal((2, 9000)), rng.standard_normal((2, 2500))
    stream = backend.host_stream(from_array(h), backend.plan(from_array(h), "offline", block_size=4000))
    pieces = []
    for block in np.split(x, np.cumsum([0, 1, 5000, *rng.integers(0, 500, 12)]), axis=1):
        block = block.copy()
        y, wait = stream.start(block)
        block[...] = np.nan  # it is the caller's again
        wait()
        pieces.append(y)
    assert stream.held == 9000 % stream.span
    left = stream.held + 2499
    pieces += [stream.finish(min(stream.span, left - start)) for start in range(0, left, stream.span)]
    stream.close()
    y = np.concatenate(pieces, axis=1)
    assert snr(y, scipy.signal.fftconvolve(x, h, axes=1)) > required(backend)


def test_long_blocks_travel_in_pieces(rng, backend, monkeypatch):
    monkeypatch.setattr(host_link, "_PIECE_BYTES", 3000)
    monkeypatch.setattr(backends, "find_gpu", lambda *_: torch.device("cpu"))
    x, h = rng.standard_normal((2, 20_000)), rng.standard_normal(500)
    convolver = Convolver(h, block_size=1500, dtype=str(backend.zeros(1, 1).dtype), device="cuda")
    y = np.concatenate([convolver.process(x), convolver.flush()], axis=1)
    assert snr(y, scipy.signal.fftconvolve(x, h[None], axes=1)) > required(backend)


def test_what_surrounds_a_call_changes_nothing(rng, backend):
    """Autocast, gradients and inference mode, in which no later call has to be."""
    x, h = rng.standard_normal((1, 4000)), rng.standard_normal((1, 300))
    matrix = from_array(h)
    with torch.inference_mode():
        stream = backend.stream(matrix, backend.plan(matrix, "block", block_size=500))
    samples = backend.from_host(x).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        pieces = [stream.push(samples[:, :1700])]
    pieces.append(stream.push(samples[:, 1700:]))
    with torch.inference_mode():
        pieces.append(stream.finish(299).clone())
    assert not any(piece.requires_grad for piece in pieces)
    y = np.concatenate([piece.numpy() for piece in pieces], axis=1)
    assert snr(y, scipy.signal.fftconvolve(x, h, axes=1)) > required(backend)


def test_a_state_goes_from_the_cpu_to_a_device(rng, monkeypatch):
    x, h = rng.standard_normal((2, 3000)), rng.standard_normal((2, 400))
    settings = {"latency": "block", "block_size": 128}
    first = Convolver(h, **settings)
    begun = first.process(x[:, :1000])
    monkeypatch.setattr(backends, "find_gpu", lambda *_: torch.device("cpu"))
    second = Convolver(h, **settings, device="cuda")
    second.set_state(first.get_state())
    state = second.get_state()
    assert isinstance(state["history"], np.ndarray)
    y = np.concatenate([begun, second.process(x[:, 1000:]), second.flush()], axis=1)
    assert snr(y, scipy.signal.fftconvolve(x, h, axes=1)) > 280


def test_a_state_is_a_copy(rng, monkeypatch):
    monkeypatch.setattr(backends, "find_gpu", lambda *_: torch.device("cpu"))
    convolver = Convolver(rng.standard_normal(50), channels=1, latency="block", block_size=8, device="cuda")
    convolver.process(rng.standard_normal((1, 20)))
    state = convolver.get_state()
    kept = state["history"].copy()
    convolver.process(rng.standard_normal((1, 200)))
    np.testing.assert_array_equal(state["history"], kept)


def test_memory_that_is_gone_is_said_in_one_line(rng, backend, monkeypatch):
    matrix = from_array(rng.standard_normal((1, 10)))
    stream = backend.host_stream(matrix, backend.plan(matrix, "block", block_size=8))

    def fail(self, samples):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8 GiB. GPU 0 has\n none. More words.")

    monkeypatch.setattr("longconv_audio.devices.stream.DeviceStream._empty", fail)
    with pytest.raises(DeviceMemoryError, match=r"Tried to allocate 8 GiB: pass a smaller block size$"):
        stream.start(np.ones((1, 20)))
