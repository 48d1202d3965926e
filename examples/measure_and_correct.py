"""A loudspeaker in a room is measured with a sweep, described, and corrected: what `longconv sweep`, `deconvolve`,
`inspect` and `invert` do, on arrays.

The room is made up here; put the playing and recording of your own in its place.

Run it as it stands: python examples/measure_and_correct.py
"""

import numpy as np

from longconv_audio import filters, oaconvolve

RATE = 48_000

room = filters.shoebox((5.2, 3.9, 2.5), (1.4, 1.1, 1.2), (3.6, 2.3, 1.3), RATE, absorption={125: 0.2, 4000: 0.4})


def play_and_record(signal: np.ndarray) -> np.ndarray:
    """What the microphone hears, (1, samples): the signal in the room, and noise 70 dB below full scale."""
    heard = oaconvolve(signal, room)[None]
    return heard + 10 ** (-70 / 20) * np.random.default_rng(0).standard_normal(heard.shape)


sweep = filters.Sweep(samplerate=RATE, seconds=8, level=-20, repeats=2)
recording = play_and_record(sweep.signal()[0])
measured = filters.deconvolve(recording, RATE, sweep.excitation())
print(f"measured: {measured.taps.shape[-1]} taps, {measured.snr_db[0]:.0f} dB above the noise")

(found,) = filters.room_parameters(measured.taps, RATE)
for band in found.bands:
    t20 = f"T20 {band.t20:.2f} s" if band.t20 is not None else f"no T20: {band.missing['t20']}"
    c80 = f", C80 {band.c80:+.1f} dB" if band.c80 is not None else ""
    print(f"{band.band:>4} Hz: {t20}{c80}")

correction, report = filters.invert(measured.taps, RATE, range=(40, 16_000), max_boost=6)
before, after = report.before.smoothed_rms_db, report.after.smoothed_rms_db
print(f"corrected, in sixths of an octave: {before:.1f} dB from flat before, {after:.1f} dB after")
