"""What an impulse response or a recording is: levels, onset, gains, noise, and its room or its loudness."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from longconv_audio.errors import OptionError
from longconv_audio.levels import to_db

from .acoustics import RoomParameters, mean_parameters, room_parameters
from .bands import Band
from .decay import decay_of, onset
from .level_meter import LevelMeter, SignalLevels
from .lufs import Loudness, LoudnessMeter
from .spectra import peak_gain

KINDS = ("auto", "ir", "recording")

# Longer than this is a recording, and shorter than that an impulse response. Between them it is where the energy lies:
# an impulse response has most of it soon after its onset.
LONGEST_IR_SECONDS, SHORTEST_RECORDING_SECONDS = 60.0, 0.4
SOON, MOST = 0.25, 0.8


@dataclass(frozen=True)
class ChannelReport:
    """One channel, or all of them: the largest peak, offset, gains and noise, the earliest onset, the counts together.

    Levels in dB are None where they are of nothing.

    Args:
        peak_dbfs: largest magnitude in dB of full scale.
        peak_sample, peak_seconds: where.
        rms_dbfs: in dB of full scale, where a square wave is 0 dB.
        dc: mean; full scale is 1.
        leading_silence_samples: of zeros at the start.
        clipped_samples: at full scale or beyond, in rows of three or more of the same value.
        samples_beyond_full_scale: what another format than float would cut off.
        silent: whether there is nothing but zeros.
        noise_dbpeak: the noise in dB of the peak. Of an impulse response: what its decay ends in, None where it goes on
            to the end; of a recording: its quietest tenth, by tenths of a second.
        onset_sample, onset_seconds: where the response first comes within 20 dB of its peak (ISO 3382-1). This and what
            follows is None of a recording.
        l1_db: sum of the magnitudes: by how much a peak can get higher.
        l2_db: root of the sum of squares: by how much white noise gets louder.
        max_gain_db, max_gain_hz: the largest gain of a sine, and its frequency.
        decays: whether a decay is found in all frequencies together.
        why_not: why none is.
    """

    peak_dbfs: float | None
    peak_sample: int | None
    peak_seconds: float | None
    rms_dbfs: float | None
    dc: float
    leading_silence_samples: int
    clipped_samples: int
    samples_beyond_full_scale: int
    silent: bool
    noise_dbpeak: float | None
    onset_sample: int | None = None
    onset_seconds: float | None = None
    l1_db: float | None = None
    l2_db: float | None = None
    max_gain_db: float | None = None
    max_gain_hz: float | None = None
    decays: bool | None = None
    why_not: str | None = None


@dataclass(frozen=True)
class Inspection:
    """What `inspect` finds.

    Args:
        kind: "ir" or "recording".
        samplerate: in hertz.
        channels, samples, seconds: its size.
        overall: of all channels.
        by_channel: of each.
        room: the mean over the channels of an impulse response; None of a recording.
        room_by_channel: of each.
        loudness: of a recording; None of an impulse response.
    """

    kind: str
    samplerate: float
    channels: int
    samples: int
    seconds: float
    overall: ChannelReport
    by_channel: list[ChannelReport]
    room: RoomParameters | None
    room_by_channel: list[RoomParameters] | None
    loudness: Loudness | None


def inspect(
    h: np.ndarray, samplerate: int, kind: str = "auto", bands: list[Band] | None = None, name: str = "the input"
) -> Inspection:
    """Levels, onset, gains and noise of a signal; the room of an impulse response, the loudness of a recording.

    Args:
        h: (taps,) or (channels, taps).
        samplerate: in hertz.
        kind: "ir", "recording", or "auto", which goes by the length and by where the energy lies.
        bands: of the room, as `octave_bands` gives them; None takes the octaves from 63 Hz to 16 kHz.
        name: of the signal, for messages.

    Raises:
        OptionError: no samples, or a kind or rate without sense.
        NonFiniteError: NaN or infinity.

    >>> h = np.zeros(4800)
    >>> h[480] = -0.5
    >>> found = inspect(h, 48000)
    >>> found.kind, found.overall.onset_seconds, round(found.overall.max_gain_db, 2)
    ('ir', 0.01, -6.02)
    """
    h = np.atleast_2d(np.asarray(h, dtype=np.float64))
    if h.ndim != 2 or not h.size:
        raise OptionError(f"{name}: samples of shape {h.shape}: expected (channels, samples) with 1 or more")
    if kind not in KINDS:
        raise OptionError(f"kind {kind!r}: expected {', '.join(KINDS)}")
    meter = LevelMeter(len(h), samplerate, name)
    meter.process(h)
    if kind == "auto":
        kind = kind_of(h, samplerate)
    if kind == "recording":
        return inspect_blocks([h], samplerate, name)
    reports = [_ir_report(x, samplerate, levels) for x, levels in zip(h, meter.result(), strict=True)]
    rooms = room_parameters(h, samplerate, bands)
    return _inspection("ir", samplerate, h.shape[1], reports, rooms, None)


def inspect_blocks(blocks: Iterable[np.ndarray], samplerate: int, name: str = "the input") -> Inspection:
    """`inspect` of a recording, however long, that comes in blocks.

    Args:
        blocks: (channels, n) each, with a sample or more among them.
        samplerate: in hertz.
        name: of the recording, for messages.
    """
    meter = loudness = None
    for block in blocks:
        if meter is None:
            meter, loudness = LevelMeter(len(block), samplerate, name), LoudnessMeter(len(block), samplerate)
        meter.process(block)
        loudness.process(block)
    if meter is None or not meter.samples:
        raise OptionError(f"{name}: holds no samples; expected 1 or more")
    reports = [_report(levels, samplerate, levels.quietest) for levels in meter.result()]
    return _inspection("recording", samplerate, meter.samples, reports, None, loudness.result())


def kind_of(h: np.ndarray, samplerate: float) -> str:
    """Whether a signal is an impulse response or a recording, by its length and by where its energy lies.

    Args:
        h: (channels, samples).
        samplerate: in hertz.
    """
    seconds = h.shape[1] / samplerate
    if seconds > LONGEST_IR_SECONDS:
        return "recording"
    if seconds < SHORTEST_RECORDING_SECONDS or not h.any():
        return "ir"
    energy = np.sum(np.square(h), axis=0)[onset(h) :]
    return "ir" if energy[: int(SOON * len(energy)) + 1].sum() >= MOST * energy.sum() else "recording"


def _inspection(kind, samplerate, samples, reports, rooms, loudness) -> Inspection:
    return Inspection(
        kind=kind,
        samplerate=samplerate,
        channels=len(reports),
        samples=samples,
        seconds=samples / samplerate,
        overall=_overall(reports),
        by_channel=reports,
        room=None if rooms is None else mean_parameters(rooms),
        room_by_channel=rooms,
        loudness=loudness,
    )


def _report(levels: SignalLevels, samplerate: float, noise: float | None, **more) -> ChannelReport:
    silent = levels.peak == 0
    return ChannelReport(
        peak_dbfs=_db(levels.peak),
        peak_sample=None if silent else levels.peak_sample,
        peak_seconds=None if silent else levels.peak_sample / samplerate,
        rms_dbfs=_db(levels.rms),
        dc=levels.dc,
        leading_silence_samples=levels.leading_silence,
        clipped_samples=levels.clipped,
        samples_beyond_full_scale=levels.beyond_full_scale,
        silent=silent,
        noise_dbpeak=None if silent or not noise else _db(noise**0.5 / levels.peak),
        **more,
    )


def _ir_report(x: np.ndarray, samplerate: float, levels: SignalLevels) -> ChannelReport:
    if levels.peak == 0:
        return _report(levels, samplerate, None, decays=False, why_not="silence")
    gain, frequency = peak_gain(x, samplerate)
    start, decay = onset(x), decay_of(x, samplerate)
    return _report(
        levels,
        samplerate,
        # What does not decay is no noise, either.
        10 ** (decay.noise_db / 10) if decay.t60 is not None else None,
        onset_sample=start,
        onset_seconds=start / samplerate,
        l1_db=_db(levels.l1),
        l2_db=_db(levels.l2),
        max_gain_db=_db(gain),
        max_gain_hz=frequency,
        decays=decay.t60 is not None,
        why_not=decay.reason,
    )


def _overall(reports: list[ChannelReport]) -> ChannelReport:
    def best(choose, name):
        values = [getattr(report, name) for report in reports if getattr(report, name) is not None]
        return choose(values) if values else None

    loudest = max(reports, key=lambda report: -np.inf if report.peak_dbfs is None else report.peak_dbfs)
    strongest = max(reports, key=lambda report: -np.inf if report.max_gain_db is None else report.max_gain_db)
    squares = [10 ** (report.rms_dbfs / 10) for report in reports if report.rms_dbfs is not None]
    decays = best(any, "decays")
    return ChannelReport(
        peak_dbfs=loudest.peak_dbfs,
        peak_sample=loudest.peak_sample,
        peak_seconds=loudest.peak_seconds,
        rms_dbfs=_db((sum(squares) / len(reports)) ** 0.5),
        dc=max((report.dc for report in reports), key=abs),
        leading_silence_samples=best(min, "leading_silence_samples"),
        clipped_samples=best(sum, "clipped_samples"),
        samples_beyond_full_scale=best(sum, "samples_beyond_full_scale"),
        silent=all(report.silent for report in reports),
        noise_dbpeak=best(max, "noise_dbpeak"),
        onset_sample=best(min, "onset_sample"),
        onset_seconds=best(min, "onset_seconds"),
        l1_db=best(max, "l1_db"),
        l2_db=best(max, "l2_db"),
        max_gain_db=strongest.max_gain_db,
        max_gain_hz=strongest.max_gain_hz,
        decays=decays,
        why_not=None if decays is not False else reports[0].why_not,
    )


def _db(magnitude: float) -> float | None:
    return to_db(magnitude) if magnitude > 0 else None
