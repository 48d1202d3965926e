"""Impulse responses out of recordings of a sweep."""

from __future__ import annotations

import math

import numpy as np
import scipy.fft

from longconv_audio.errors import MismatchError, NonFiniteError, OptionError, UnreadableError
from longconv_audio.levels import to_db

from .clipping import find_clipping
from .distortion import Distortion, check_orders, harmonic_distortion, harmonic_responses, noise_before
from .drift import apparent_drift, find_drift, on_players_clock
from .excitation import Excitation
from .measurement import Measurement
from .passes import Passes
from .sweeps import Sweep

ALIGNMENTS = ("direct", "start")

# Unless told, as much is kept before the direct sound as the band-limited response rings there: so many periods of
# the band's lowest frequency leave less than -60 dB of it outside, of a band of five octaves, too. At most so many
# seconds: wider bands have less of their energy there.
LEAD_PERIODS, LONGEST_LEAD = 5.0, 0.2

# What is recorded after a sweep should be as long as this, in seconds; responses end there or later.
SHORTEST_TAIL = 0.25

# A response below this part of the loudest is what a transform rounds.
ROUNDING = 1e-9

# A response whose energy is above that of noise by less is nothing else.
AUDIBLE_DB = 3.0

# Distortion, in per cent, beyond what amplifiers and loudspeakers can do.
NO_SWEEP = 100.0

DRIFTS = ("auto", "compactness", "none")
# Larger drifts, in ppm, are not those of clocks.
MOST_PPM = 10_000


def deconvolve(
    recording: np.ndarray,
    samplerate: int,
    excitation: Excitation | Sweep,
    *,
    method: str = "inversion",
    align: str = "direct",
    lead: int | None = None,
    length: int | None = None,
    drift: float | str = "auto",
    orders: int = 5,
) -> Measurement:
    """Impulse responses out of a recording of an excitation.

    Args:
        recording: (samples,) or (channels, samples); it may begin before the excitation, and end after it.
        samplerate: in hertz: the excitation's.
        excitation: what was played.
        method: "inversion" or "inverse-filter", as `inverse_spectrum` has them.
        align: "direct" puts the earliest direct sound `lead` samples from the start, "start" the instant at which the
            first sweep would have come with no delay at all, where player and recorder started together.
        lead: in samples; None is five periods of the band's lowest frequency, 0.2 s at the most.
        length: of the responses in samples, lead included; None is what was recorded after the last sweep.
        drift: "auto" measures the drift of the clocks by the repeats of the sweep and takes it out, "compactness" takes
            out what makes the response to one sweep the most compact, which counts the loudspeaker's own delays as
            drift, "none" takes out nothing, and a number that many ppm. Of one sweep "auto" only says what it looks
            like.
        orders: the highest order of harmonics, 1 for none.

    Raises:
        MismatchError: other rates, a recording shorter than the excitation, one without it or that ends before each
            channel was heard.
        UnreadableError: a silent recording.
        NonFiniteError: NaN or infinity in the recording.
        OptionError: an argument that makes no sense.

    >>> sweep = Sweep(8000, start=50, end=3600, seconds=1, after=0.2)
    >>> wire = deconvolve(sweep.signal(), 8000, sweep)
    >>> wire.taps.shape[0], int(wire.taps[0].argmax()) == wire.lead
    (1, True)
    """
    if isinstance(excitation, Sweep):
        excitation = excitation.excitation()
    if lead is None:
        lead = math.ceil(min(LEAD_PERIODS / excitation.band[0], LONGEST_LEAD) * samplerate)
    recording = _checked(recording, samplerate, excitation)
    _check_options(align, lead, length, recording.shape[1], drift, orders)
    warnings = [
        f"the recording is clipped: channel {one.channel} has {one.samples} samples in flat tops at "
        f"{to_db(one.level):.1f} dBFS, the first at {one.first_seconds:.3f} s: turn the input down and record again"
        for one in find_clipping(recording, samplerate)
    ]
    part, by = 0.0, None
    if drift not in DRIFTS:
        part, by = float(drift) * 1e-6, "given"
        recording = on_players_clock(recording, part)
    passes = Passes(recording, excitation, method)
    if drift == "compactness" or (drift == "auto" and passes.repeated):
        part, by, passes = find_drift(recording, passes, method, "repeats" if drift == "auto" else drift)
    elif drift == "auto" and (apparent := apparent_drift(passes)) is not None:
        warnings.append(
            f"one sweep cannot tell a drift of clocks from the loudspeaker's own delays: it looks like "
            f"about {apparent * 1e6:+.0f} ppm, and nothing was taken out: measure with --repeats 2, or pass --drift "
            "compactness if the loudspeaker has none"
        )
    warnings += _incomplete(passes)
    begin = (passes.direct if align == "direct" else excitation.first) - lead
    clean = passes.direct + passes.tail - begin
    if length is None:
        length = max(clean, lead + round(SHORTEST_TAIL * samplerate))
    if length > clean:
        warnings.append(
            f"{max(passes.tail, 0) / samplerate:.3g} s were recorded between a sweep's end and what follows, and the "
            f"responses are {(length - lead) / samplerate:.3g} s long: their end lacks high frequencies, or holds "
            "those of the next sweep"
        )
    taps = passes.mean(begin - passes.direct, length).reshape(-1, length)
    peaks = np.abs(taps).max(axis=1)
    taps[peaks <= ROUNDING * peaks.max()] = 0
    exponential = excitation.rate_seconds is not None and orders > 1
    harmonics = harmonic_responses(passes, orders, lead) if exponential else None
    before = noise_before(passes)
    noise_db, snr_db = _noise(before, taps, samplerate, excitation.band)
    distortion = None
    if exponential and before is None:
        warnings.append(
            "harmonic distortion was not measured: the sweep is too short for the noise, from which harmonics must be "
            "told, to be seen between them: use a longer one"
        )
    elif exponential:
        distortion = [
            one if row.any() else Distortion(None, None, [None] * (orders - 1), [])
            for one, row in zip(harmonic_distortion(passes, orders, before), taps, strict=True)
        ]
    if distortion is not None and all((one.thd_percent or 0) > NO_SWEEP for one in distortion):
        distortion = None
        warnings.append(
            "there is more in the places of the harmonics than in that of the response: was this sweep, and no other, "
            "played?"
        )
    warnings += _doubts(taps, snr_db, len(recording))
    return Measurement(
        taps=taps,
        samplerate=samplerate,
        played=excitation.channels,
        recorded=len(recording),
        repeats=min(map(len, passes.kept)),
        lead=lead,
        latency=passes.direct - begin,
        band=excitation.band,
        found_seconds=passes.direct / samplerate,
        drift_ppm=None if by is None else part * 1e6,
        drift_by=by,
        noise_db=noise_db,
        snr_db=snr_db,
        distortion=distortion,
        harmonics=harmonics,
        warnings=warnings,
    )


def _incomplete(passes: Passes) -> list[str]:
    """Warnings of a recording that begins late or ends early."""
    excitation, warnings = passes.excitation, []
    if passes.missing:
        warnings.append(
            f"the recording ends before the last {passes.missing} of {excitation.passes} sweeps do: they are left out"
        )
    if passes.direct < 0:
        late, rate = -passes.direct / excitation.samplerate, excitation.rate_seconds
        reached = "" if rate is None else f" ({excitation.edges[0] * math.exp(late / rate):.0f} Hz)"
        warnings.append(
            f"the recording begins {late:.3f} s after the first sweep does: what is below the frequency reached by "
            f"then{reached} is missing"
        )
    return warnings


def _doubts(taps: np.ndarray, snr_db: list[float | None], recorded: int) -> list[str]:
    """Warnings of responses that are none."""
    warnings = []
    for number, row in enumerate(taps):
        quiet = snr_db[number] is not None and snr_db[number] < AUDIBLE_DB
        if quiet or not row.any():
            played, channel = divmod(number, recorded)
            warnings.append(
                f"response {number + 1} (played channel {played + 1}, recorded channel {channel + 1}) is "
                f"{'no more than noise' if row.any() else 'silent'}"
            )
    return warnings


def _checked(recording: np.ndarray, samplerate: int, excitation: Excitation) -> np.ndarray:
    """The recording in float64, refused where nothing can come of it."""
    recording = np.atleast_2d(np.asarray(recording, dtype=np.float64))
    if samplerate != excitation.samplerate:
        raise MismatchError(
            f"the recording is at {samplerate} Hz and the sweep at {excitation.samplerate} Hz: record at the sweep's "
            "rate, or make a sweep of the recorder's with --rate and measure again"
        )
    if not np.isfinite(recording).all():
        channel, sample = np.argwhere(~np.isfinite(recording))[0]
        raise NonFiniteError(
            f"the recording has {recording[channel, sample]} at channel {channel + 1}, sample {sample}: mend the file"
        )
    if recording.shape[1] < len(excitation.signal):
        raise MismatchError(
            f"the recording is shorter than one sweep: {recording.shape[1] / samplerate:.4g} s of "
            f"{len(excitation.signal) / samplerate:.4g} s: record from before the sweep to the end of its decay"
        )
    if not recording.any():
        raise UnreadableError("the recording is silent: every sample is 0: check the input and its level")
    return recording


def _check_options(align: str, lead: int, length: int | None, frames: int, drift: float | str, orders: int) -> None:
    if align not in ALIGNMENTS:
        raise OptionError(f"--align {align}: expected {' or '.join(ALIGNMENTS)}")
    if not 0 <= lead <= frames:
        raise OptionError(f"--lead of {lead} samples: expected 0 to the recording's {frames}")
    if length is not None and not lead < length <= lead + frames:
        raise OptionError(
            f"--length of {length} samples: expected more than the lead of {lead} samples that it includes, and no "
            f"more than the recording's {frames} behind it"
        )
    if drift not in DRIFTS:
        try:
            ppm = float(drift)
        except (TypeError, ValueError):
            ppm = math.nan
        if not abs(ppm) <= MOST_PPM:
            raise OptionError(f"--drift {drift}: expected {', '.join(DRIFTS)} or ppm from -{MOST_PPM} to {MOST_PPM}")
    check_orders(orders)


def _noise(
    before: np.ndarray | None, taps: np.ndarray, samplerate: int, band: tuple[float, float]
) -> tuple[list[float | None], list[float | None]]:
    """The level before the direct sound within the band, and the responses' energies over that of so much noise.

    Beyond the band's edges there is hardly any noise, and there the response rings ahead of the direct sound.
    """
    if before is None:
        return [None] * len(taps), [None] * len(taps)
    length = before.shape[-1]
    window = np.hanning(length + 2)[1:-1]
    spectra = np.abs(scipy.fft.rfft(before.reshape(len(taps), length) * window)) ** 2
    # The window spreads what is at an edge over two bins, and over the next ones a little.
    edge = 4 * samplerate / length
    frequencies = scipy.fft.rfftfreq(length, 1 / samplerate)
    inside = (frequencies > band[0] + edge) & (frequencies < band[1] - edge)
    powers = 2 * spectra[:, inside].sum(axis=1) / (length * np.sum(window**2))
    energies = np.sum(taps**2, axis=1)
    noise_db, snr_db = [], []
    for power, energy in zip(powers, energies, strict=True):
        known = power > 0 and energy > 0
        noise_db.append(to_db(math.sqrt(power)) if known else None)
        snr_db.append(10 * math.log10(energy / (power * taps.shape[1])) if known else None)
    return noise_db, snr_db
