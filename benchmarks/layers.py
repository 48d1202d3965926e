"""A training step of each layer beside plain torch.fft code, and of LongConv1d beside torch.nn.Conv1d.

    python benchmarks/layers.py [--quick]

Forward and backward pass in float32, in milliseconds, best of the rounds; the ratio is the peer's time divided by
ours. The peer of a layer has its parameters and makes its kernel in the same way (that of S4D from an array of all
powers of all states, as its authors' code has it); it convolves by the products of torch.fft.rfft's spectra, which
autograd keeps, and multiplies gates and skip terms beside that.
"""

from __future__ import annotations

import argparse

import torch
from measuring import best, header, in_turn, table, time_call

from longconv_audio import nn

THREADS = 2
# (batch, channels, samples), each with kernels as long as the input
SHAPE, QUICK_SHAPE = (16, 64, 16_000), (2, 4, 500)
# (batch, channels, samples) with dense kernels, whose plain code keeps a spectrum for each pair of channels
DENSE_SHAPE, QUICK_DENSE_SHAPE = (4, 16, 16_000), (2, 4, 500)
KERNELS, QUICK_KERNELS = (8, 16, 32, 64, 128, 256, 1024), (8, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    rounds = 1 if options.quick else options.rounds
    header("Layers", "longconv-audio", "torch")
    print(f"{THREADS} threads\n")
    rows = [compare(*case, rounds) for case in layers(options.quick)]
    table(["layer", "shape", "ms", "torch.fft ms", "ratio"], rows, left=2)
    shape, kernels = (QUICK_DENSE_SHAPE, QUICK_KERNELS) if options.quick else ((8, 32, 16_000), KERNELS)
    rows = [compare(*case, rounds) for case in convolutions(shape, kernels)]
    table(["LongConv1d", "shape", "ms", "Conv1d ms", "ratio"], rows, left=2)


def layers(quick: bool):
    """Each layer's name, itself, the plain code, and the shape of its input."""
    shape = QUICK_SHAPE if quick else SHAPE
    _, channels, length = shape
    for layer in (nn.DepthwiseLongConv(channels, length), nn.SGConv(channels, length)):
        yield type(layer).__name__, layer, lambda x, layer=layer: plain(x, layer.kernel(length), layer.d), shape
    s4d = nn.S4D(channels)
    yield "S4D", s4d, lambda x: plain(x, all_powers(s4d, length), s4d.d), shape
    hyena = nn.HyenaOperator(channels, length)
    yield "HyenaOperator", hyena, lambda x: plain_hyena(hyena, x), shape
    shape = QUICK_DENSE_SHAPE if quick else DENSE_SHAPE
    dense = nn.LongConv1d(shape[1], shape[1], shape[2], padding="causal", bias=False)
    yield "LongConv1d, dense", dense, lambda x: plain_dense(x, dense.weight.flip(-1)), shape


def convolutions(shape: tuple, kernels: tuple):
    """The same of LongConv1d and Conv1d with the same parameters."""
    channels = shape[1]
    for groups, taps in ((groups, taps) for groups in (channels, 1) for taps in kernels):
        long = nn.LongConv1d(channels, channels, taps, padding=taps // 2, groups=groups)
        short = torch.nn.Conv1d(channels, channels, taps, padding=taps // 2, groups=groups)
        short.load_state_dict(long.state_dict())
        yield f"{'dense' if groups == 1 else 'depthwise'}, {taps} taps", long, short, shape


def compare(name: str, layer, peer, shape: tuple, rounds: int) -> list:
    """A row of the table. Both must give the same."""
    x = torch.randn(shape)
    torch.testing.assert_close(layer(x), peer(x), rtol=1e-3, atol=1e-3)
    parameters = [*layer.parameters(), *getattr(peer, "parameters", list)()]
    calls = {"layer": lambda: step(layer, x, parameters), "peer": lambda: step(peer, x, parameters)}
    costs = in_turn({name: lambda call=call: time_call(call) for name, call in calls.items()}, rounds, 20)
    ours, theirs = (best(costs[name]).wall * 1e3 for name in ("layer", "peer"))
    return [name, "x".join(map(str, shape)), f"{ours:.1f}", f"{theirs:.1f}", f"{theirs / ours:.2f}"]


def step(layer, x, parameters) -> None:
    """Forward and backward, with the gradient of the input too, as within a model."""
    for parameter in parameters:
        parameter.grad = None
    layer(x.clone().requires_grad_()).square().mean().backward()


def plain(x, k, d):
    """A causal convolution of each channel, and the skip term."""
    points = 2 * x.shape[-1]
    y = torch.fft.irfft(torch.fft.rfft(x, points) * torch.fft.rfft(k, points), points)[..., : x.shape[-1]]
    return y + d[:, None] * x


def plain_dense(x, k):
    """A causal convolution that mixes the channels."""
    points = 2 * x.shape[-1]
    spectrum = torch.einsum("bif,oif->bof", torch.fft.rfft(x, points), torch.fft.rfft(k, points))
    return torch.fft.irfft(spectrum, points)[..., : x.shape[-1]]


def plain_hyena(layer, x):
    """A Hyena operator of order 2."""
    projected = torch.nn.functional.pad(layer.in_projection(x), (2, 0))
    post, gate, v = layer.short(projected).chunk(3, 1)
    return layer.out_projection(post * plain(gate * v, layer.kernel(x.shape[-1])[0], layer.d[0]))


def all_powers(layer, length: int):
    """S4D's kernel."""
    a = torch.complex(-layer.log_decay.exp(), layer.frequency)
    step = layer.log_dt.exp()[:, None] * a
    c = torch.view_as_complex(layer.c) * (step.exp() - 1) / a
    powers = torch.exp(step.unsqueeze(-1) * torch.arange(length))
    return 2 * torch.einsum("hn,hnl->hl", c, powers).real


if __name__ == "__main__":
    main()
