"""A room's impulse response learned from a dry and a wet recording, by gradient descent through long_conv.

Run it as it stands: python examples/learn_a_room.py
"""

import torch

from longconv_audio import FilterSpectrum, long_conv

SAMPLES, TAPS = 16_384, 4_096

torch.manual_seed(0)
dry = torch.randn(8, 1, SAMPLES)  # (batch, channels, samples)
room = torch.randn(1, TAPS) * 10 ** (-3 * torch.arange(TAPS) / TAPS)  # 60 dB down at its end
wet = long_conv(dry, room)

learned = torch.zeros(1, TAPS, requires_grad=True)
optimizer = torch.optim.LBFGS([learned], max_iter=20, line_search_fn="strong_wolfe")


def loss():
    optimizer.zero_grad()
    error = (long_conv(dry, learned) - wet).square().mean() / wet.square().mean()
    error.backward()
    return error


optimizer.step(loss)
error = 10 * torch.log10(loss().detach())
print(f"the wet recording is matched to {error:.0f} dB")

# From here on the filter is fixed: its spectrum is computed once.
spectrum = FilterSpectrum(learned.detach(), length=SAMPLES)
fresh = torch.randn(1, 1, SAMPLES)
difference = long_conv(fresh, spectrum) - long_conv(fresh, room)
print(f"on a recording it never heard: {10 * torch.log10(difference.square().mean() / wet.square().mean()):.0f} dB")
