"""Streams and files on a GPU: copies, streams, memory. `pytest -m gpu`. The rest is tested on torch's CPU."""

import numpy as np
import pytest
import torch
from gpu import needs_gpu
from measures import REQUIRED, snr

from longconv_audio import AudioReader, AudioWriter, Convolver
from longconv_audio.devices import host_link
from longconv_audio.filter_chain import FilterSettings
from longconv_audio.rendering import Rendering, RenderSettings
from longconv_audio.routing import FilterMatrix, Path

pytestmark = needs_gpu

# Of the fused kernels in single precision; torch.fft has what the CPU has.
LEAST = {"float32": 120.0, "float64": REQUIRED["float64"]}
SETTINGS = [
    {"latency": "block", "block_size": 256},
    {"latency": "block", "block_size": 9000},
    {"latency": "offline"},
    {"latency": "offline", "block_size": 20_000},
]


def full(x, h) -> np.ndarray:
    """The full convolution of `(..., n)` with `(..., K)`, in float64: the oracle."""
    n = x.shape[-1] + h.shape[-1] - 1
    return np.fft.irfft(np.fft.rfft(x.astype(np.float64), n) * np.fft.rfft(h.astype(np.float64), n), n)


def decaying(rng, *shape) -> np.ndarray:
    return rng.standard_normal(shape) * 10 ** (-3 * np.arange(shape[-1]) / shape[-1])


def in_pieces(convolver, x, sizes):
    pieces, start = [], 0
    for size in (*sizes, x.shape[-1]):
        pieces.append(convolver.process(x[..., start : start + size]))
        start += size
    return [*pieces, convolver.flush()]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("taps", [1, 700, 40_000])
def test_host_samples(rng, settings, dtype, taps, monkeypatch):
    monkeypatch.setattr(host_link, "_PIECE_BYTES", 1 << 17)  # many of them on their way at once
    x, h = rng.standard_normal((2, 150_000)).astype(dtype), decaying(rng, 2, taps).astype(dtype)
    pieces = in_pieces(Convolver(h, device="cuda", **settings), x, rng.integers(0, 30_000, 4))
    assert all(isinstance(piece, np.ndarray) for piece in pieces)
    y = np.concatenate(pieces, axis=1)
    assert y.dtype == dtype
    assert snr(y, full(x, h)) > LEAST[dtype]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_samples_of_the_device_stay_there(rng, settings):
    """And the host waits for nothing."""
    x, h = rng.standard_normal((2, 150_000)).astype(np.float32), decaying(rng, 2, 5000).astype(np.float32)
    u, convolver = torch.from_numpy(x).cuda(), Convolver(torch.from_numpy(h).cuda(), **settings)
    in_pieces(convolver, u, [1000])
    torch.cuda.set_sync_debug_mode("error")
    try:
        pieces = in_pieces(convolver, u, [0, 1, 33_333, 50_000])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(piece.is_cuda for piece in pieces)
    assert snr(torch.cat(pieces, -1).cpu().numpy(), full(x, h)) > LEAST["float32"]


def test_the_current_stream_is_the_one(rng):
    """Samples that a stream is still busy with are waited for there, and there alone."""
    x, h = rng.standard_normal((1, 50_000)), decaying(rng, 1, 3000)
    convolver = Convolver(h, device="cuda", latency="block", block_size=5000)
    late, samples = torch.zeros(1, 50_000, dtype=torch.float64, device="cuda"), torch.from_numpy(x).cuda()
    in_pieces(convolver, samples, [])
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(400_000_000)  # a fifth of a second
        late.copy_(samples)
        pieces = in_pieces(convolver, late, [7000])
        assert not stream.query()  # nothing above waited
    stream.synchronize()
    assert snr(torch.cat(pieces, -1).cpu().numpy(), full(x, h)) > LEAST["float64"]


def test_a_matrix_whose_paths_share(rng):
    x, a, b = rng.standard_normal((3, 60_000)), decaying(rng, 9000), decaying(rng, 4000)
    matrix = FilterMatrix(3, 4, (Path(3, 0, a), Path(0, 2, a), Path(3, 1, b), Path(0, 2, b), Path(1, 1, a)), origin=50)
    y = np.concatenate(in_pieces(Convolver(matrix, device="cuda"), x, [100]), axis=1)
    expected = np.zeros((4, 68_999))
    for path in matrix.paths:
        row = full(x[path.input], path.taps)
        expected[path.output, : len(row)] += row
    assert snr(y, expected[:, 50:]) > LEAST["float64"]
    assert not y[2].any()


def test_changes_and_states(rng):
    """The same as on the CPU, sample for sample."""
    x, g, h = rng.standard_normal((2, 40_000)), decaying(rng, 2, 3000), decaying(rng, 2, 2000)
    answers = []
    for device in ("cpu", "cuda"):
        first, second = (Convolver(g, device=device, latency="block", block_size=700) for _ in range(2))
        pieces = [first.process(x[:, :9000])]
        second.set_state(first.get_state())
        second.set_ir(h, crossfade=4000)
        pieces += [second.process(x[:, 9000:10_000]), second.process(x[:, 10_000:]), second.flush()]
        answers.append(np.concatenate(pieces, axis=1))
    assert snr(answers[1], answers[0]) > 270


@pytest.mark.parametrize("channels", [2, 32])
def test_memory_is_what_the_plan_says(rng, channels):
    """However long the signal is."""
    h = decaying(rng, channels, 100_000).astype(np.float32)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    convolver = Convolver(h, device="cuda")
    x = rng.standard_normal((channels, 300_000)).astype(np.float32)
    for _ in range(2 + 4 * convolver.plan.hop // x.shape[1]):
        convolver.process(x)
    peak = torch.cuda.max_memory_allocated() - before
    assert 2 * 4 * channels * convolver.plan.window < peak <= convolver.plan.memory


def test_blocks_that_do_not_fit():
    with pytest.raises(
        ValueError, match=r"need .* GiB and the device has .* GiB left: the largest block size .* is \d+$"
    ):
        Convolver(np.ones((512, 1000), np.float32), device="cuda", block_size=1 << 30)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("block_size", [None, 150_000])
def test_a_file(rng, subtype, block_size, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, h = 0.1 * rng.standard_normal((2, 1_500_000)), 0.1 * decaying(rng, 2, 48_000)
    for name, samples in (("in.wav", x), ("ir.wav", h)):
        with AudioWriter(name, samplerate=48_000, channels=2, subtype="DOUBLE") as writer:
            writer.write(samples)
    settings = RenderSettings(device="cuda", subtype=subtype, block_size=block_size)
    report = Rendering("in.wav", ["ir.wav"], "out.wav", FilterSettings(), settings).run()
    assert report.device == f"cuda:0 ({torch.cuda.get_device_name(0)})"
    with AudioReader("out.wav", dtype="float64") as reader:
        assert snr(reader.read(), full(x, h)) > LEAST["float32" if subtype == "FLOAT" else "float64"]
