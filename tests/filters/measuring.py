"""Measurements with known outcomes."""

import numpy as np
import scipy.fft
import scipy.signal

from longconv_audio.filters import Sweep

RATE = 16_000
SWEEP = Sweep(RATE, start=14, end=7600, seconds=3, after=0.7, before=0.2)


def decay(rng):
    """A direct sound and a decay of 60 dB in half a second."""
    taps = RATE // 2
    h = 0.1 * rng.standard_normal(taps) * 10 ** (-3 * np.arange(taps) / taps)
    h[:30] = 0
    h[0] = 1
    return h


def played(sweep, *responses):
    """What one microphone records of speakers with these responses."""
    x = sweep.signal()
    longest = max(map(len, responses))
    same = [np.pad(h, (0, longest - len(h))) for h in responses]
    return scipy.signal.fftconvolve(x, np.stack(same), axes=-1).sum(axis=0)


def error_db(found, h, response=0, delay=0):
    """The error's energy over the response's, in dB, within the band; gain and place as the measurement has them."""
    points = scipy.fft.next_fast_len(2 * max(found.taps.shape[1], len(h)), real=True)
    frequencies = scipy.fft.rfftfreq(points, 1 / found.samplerate)
    inside = (frequencies >= found.band[0]) & (frequencies <= found.band[1])
    place = np.exp(-2j * np.pi * frequencies / found.samplerate * (found.lead + delay))
    expected = (scipy.fft.rfft(h, points) * place)[inside]
    error = scipy.fft.rfft(found.taps[response], points)[inside] - expected
    return 10 * np.log10(np.sum(np.abs(error) ** 2) / np.sum(np.abs(expected) ** 2))


def drifted(y, part):
    """Samples taken at n / (1 + part): a sum of 128 windowed sincs, good to -100 dB below 0.95 of half the rate."""
    t = np.arange(int(len(y) * (1 + part))) / (1 + part)
    whole = np.floor(t).astype(int)
    rest = t - whole
    reach = 64
    padded = np.pad(y, (reach, reach + 2))
    out = np.zeros(len(t))
    for tap in range(1 - reach, reach + 1):
        u = tap - rest
        out += padded[whole + tap + reach] * np.sinc(u) * np.cos(0.5 * np.pi * u / (reach + 1)) ** 2
    return out
