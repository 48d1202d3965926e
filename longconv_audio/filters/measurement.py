"""What a measurement found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .distortion import Distortion


@dataclass(frozen=True)
class Measurement:
    """The impulse responses out of a recording, and what else it shows.

    Args:
        taps: the impulse responses, (played channels x recorded channels, taps), float64: the first played channel to
            each recorded one, then the second: of a stereo pair LL, LR, RL, RR as true stereo has it. What comes out
            of a wire has a gain of 1 within the band.
        samplerate: in hertz.
        played, recorded: how many channels.
        repeats: passes that were averaged, of each played channel.
        lead: samples ahead of the direct sound, or of time zero where it was aligned to the start.
        latency: where the direct sound is, in samples from the first tap.
        band: within these frequencies, in hertz, the response is exact.
        found_seconds: where in the recording the first sweep's direct sound begins.
        drift_ppm: by how much the recorder counted more samples than the player, in millionths; None where it was not
            measured or could not be told from none.
        drift_by: "repeats", "compactness", "given", or None.
        noise_db: the level (root mean square, full scale of the response is 1) that stands before the direct sound,
            within the band; one for each response, None where there is no room to measure it or the response is
            silent.
        snr_db: the energy of each response over that of so much noise; None likewise.
        distortion: one for each response; None where the excitation is no exponential sweep or too
            short a one, or no order was asked for.
        harmonics: the responses of the harmonics, (orders from 2, responses, taps), their direct sound at the same
            place; None where the excitation is no exponential sweep or no order was asked for.
        warnings: one line each.
    """

    taps: np.ndarray
    samplerate: int
    played: int
    recorded: int
    repeats: int
    lead: int
    latency: int
    band: tuple[float, float]
    found_seconds: float
    drift_ppm: float | None
    drift_by: str | None
    noise_db: list[float | None]
    snr_db: list[float | None]
    distortion: list[Distortion] | None
    harmonics: np.ndarray | None
    warnings: list[str] = field(default_factory=list)
