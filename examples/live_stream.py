"""A reverb in real time: 64 samples in, 64 samples out, the filter changed on the way without a click.

Run it as it stands: python examples/live_stream.py
"""

import time

import numpy as np

from longconv_audio import Convolver

RATE, BLOCK, SECONDS = 48_000, 64, 4

rng = np.random.default_rng(0)
decay = 10 ** (-3 * np.arange(6 * RATE) / (6 * RATE))
large_hall = (rng.standard_normal((2, 6 * RATE)) * decay).astype(np.float32)
small_room = np.ascontiguousarray(large_hall[:, :RATE] * decay[::6])

signal = rng.standard_normal((2, SECONDS * RATE)).astype(np.float32)
convolver = Convolver(large_hall, latency="zero")
print(convolver.plan)

slowest, began = 0.0, time.perf_counter()
for start in range(0, signal.shape[1], BLOCK):
    if start == signal.shape[1] // 2:
        convolver.set_ir(small_room, crossfade=RATE // 10)  # computes spectra: between blocks, or in another thread
    before = time.perf_counter()
    answer = convolver.process(signal[:, start : start + BLOCK])  # as many samples as went in
    slowest = max(slowest, time.perf_counter() - before)
elapsed = time.perf_counter() - began
tail = convolver.flush()

print(f"{SECONDS / elapsed:.0f} x real time; slowest block {1e6 * slowest:.0f} us of {1e6 * BLOCK / RATE:.0f} us")
print(f"{answer.shape[1]} samples a block, and a tail of {tail.shape[1]}")
