"""A room on a NumPy array, and the same on a torch tensor with a gradient with respect to the room.

Run it as it stands: python examples/room_on_an_array.py
"""

import numpy as np
import torch

from longconv_audio import fftconvolve, oaconvolve

RATE = 48_000

rng = np.random.default_rng(0)
voice = rng.standard_normal((2, 5 * RATE)).astype(np.float32)  # (channels, samples)
time = np.arange(RATE) / RATE
room = (rng.standard_normal((2, RATE)) * 10 ** (-3 * time)).astype(np.float32)  # 60 dB down after a second

wet = oaconvolve(voice, room)  # each channel with its own filter, the whole tail
print(f"{voice.shape[-1]} samples in, {wet.shape[-1]} out: the tail is {room.shape[-1] - 1} samples")

estimate = torch.zeros(2, RATE, requires_grad=True)
error = fftconvolve(torch.from_numpy(voice), estimate) - torch.from_numpy(wet)
error.square().sum().backward()
similarity = torch.nn.functional.cosine_similarity(-estimate.grad, torch.from_numpy(room)).mean()
print(f"the first gradient step points towards the room: cosine {similarity:.2f}")
