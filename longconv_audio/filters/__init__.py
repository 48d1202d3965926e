"""Long filters made, measured, looked at, mended and understood.

Taps are float64 arrays of shape `(taps,)` or `(channels, taps)`, frequencies and sample rates are in hertz, levels in
dB. The public names load on first use.
"""

from __future__ import annotations

from longconv_audio.lazy import lazy_names

_HOMES = {
    # design
    "Curve": "curves",
    "read_curve": "curves",
    "lowpass": "design",
    "highpass": "design",
    "bandpass": "design",
    "bandstop": "design",
    "measure_bands": "band_report",
    "plan_bands": "orders",
    "hilbert": "phase_shifters",
    "delay": "phase_shifters",
    "equalizer": "equalization",
    "measure_curve": "equalization",
    # measurement
    "Sweep": "sweeps",
    "exponential_sweep": "sweeps",
    "read_sweep": "sweep_files",
    "Excitation": "excitation",
    "excitation_of": "excitation",
    "deconvolve": "deconvolution",
    "Measurement": "measurement",
    # understanding
    "room_parameters": "acoustics",
    "mean_parameters": "acoustics",
    "inspect": "inspection",
    "loudness": "lufs",
    "energy_decay_curve": "decay",
    "decay_of": "decay",
    "onset": "decay",
    "frequency_response": "spectra",
    "response_at": "spectra",
    "smooth_octaves": "spectra",
    "octave_bands": "bands",
    "split_octaves": "bands",
    "summarize": "summary",
    # correction and surgery
    "minimum_phase": "phase",
    "minimum_phase_of_magnitude": "phase",
    "mixed_phase": "phase",
    "mixed_phase_of_magnitude": "phase",
    "invert": "correction",
    "trim": "editing",
    "normalize": "editing",
    "resample": "editing",
    "combine": "combining",
    "split": "combining",
    "mix": "combining",
    "fade": "editing",
    "join": "combining",
    "extend": "tails",
    "reshape_decay": "tails",
    # rooms and headphones
    "shoebox": "rooms",
    "eyring_t60": "rooms",
    "air_absorption": "air",
    "statistical_hall": "halls",
    "Sofa": "sofa",
    "read_sofa": "sofa",
    "hrir_at": "hrir",
    "virtual_loudspeakers": "binaural",
    "read_loudspeakers": "binaural",
    "bauer_crossfeed": "crossfeed",
}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
