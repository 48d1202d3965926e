"""What `longconv demo` listens to: a phrase of plucked strings, and a hall to put it in.

Everything is computed, nothing is stored: the same arguments give the same samples.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import scipy.fft

from longconv_audio.errors import OptionError

SEED = 1983
"""The year of the two papers that the strings come from."""

PHRASE_PEAK_DB = -6.0
"""Peak of the dry phrase in dBFS: the hall may add 6 dB before anything clips."""

DECAY_TIMES = {
    63.0: 2.7,
    125.0: 2.6,
    250.0: 2.4,
    500.0: 2.15,
    1000.0: 1.85,
    2000.0: 1.5,
    4000.0: 1.12,
    8000.0: 0.8,
    16000.0: 0.55,
}
"""The hall's reverberation time T60 in seconds at the centre of each octave band in hertz."""

EARLY_SECONDS = 0.08
"""Up to here the ear hears single reflections as part of the direct sound (the 80 ms of C80)."""


def plucked_phrase(samplerate: int = 48000, seconds: float = 8.0, seed: int = SEED) -> np.ndarray:
    """A dry phrase of plucked strings: four chords in A minor, silent from 6.5 s on.

    Args:
        samplerate: in hertz.
        seconds: length of the result. A shorter one cuts the phrase with a 20 ms fade; a longer one adds
            silence.
        seed: of the noise in the strings.

    Returns:
        (2, samples), float64, peak at `PHRASE_PEAK_DB` over all channels.

    Raises:
        OptionError: a sample rate or a length that makes no sense.
    """
    length = _samples(samplerate, seconds)
    rng = np.random.Generator(np.random.PCG64(seed))
    phrase = np.zeros((2, length))  # (2, samples)
    for note in phrase_notes():
        # Each note draws from its own generator, so that leaving one out changes no other.
        (string_rng,) = rng.spawn(1)
        start = round(note.onset * samplerate)
        if start >= length or note.frequency > samplerate / 4:
            continue
        string = pluck(note.frequency, note.seconds, samplerate, string_rng, brightness=note.brightness)
        string *= note.level / _rms(string[: round(0.2 * samplerate)])
        string = string[: length - start]
        angle = (note.pan + 1) * math.pi / 4  # constant power
        phrase[0, start : start + string.size] += math.cos(angle) * string
        phrase[1, start : start + string.size] += math.sin(angle) * string
    _fade_out(phrase, round(0.02 * samplerate))
    peak = np.max(np.abs(phrase), initial=0.0)
    return phrase * (10 ** (PHRASE_PEAK_DB / 20) / peak) if peak > 0 else phrase


def hall(samplerate: int = 48000, seconds: float = 3.0, seed: int = SEED) -> np.ndarray:
    """The impulse response of a concert hall: direct sound, early reflections, diffuse tail.

    The direct sound is sample 0 of both channels. The reflections of the first 80 ms are those of a
    box-shaped room, heard by two microphones (image sources: Allen and Berkley, JASA 65(4), 1979). The
    tail is Gaussian noise, independent in the two channels, split into octave bands that decay with
    `DECAY_TIMES` (Moorer, "About This Reverberation Business", Computer Music Journal 3(2), 1979).

    Level: pink noise leaves the hall at `HALL_GAIN_DB` of its own level. With the hall alone (mix 1) the
    demo's phrase comes out about as loud as it went in, with its peak below full scale.

    Args:
        samplerate: in hertz.
        seconds: length of the result; its last 250 ms (or last quarter, if that is less) fade out.
        seed: of the noise in the tail.

    Returns:
        (2, samples), float64.

    Raises:
        OptionError: a sample rate or a length that makes no sense.
    """
    length = _samples(samplerate, seconds)
    if length == 0:
        return np.zeros((2, 0))
    response = _diffuse_tail(samplerate, length, np.random.Generator(np.random.PCG64(seed)))  # (2, samples)
    early = _early_reflections(samplerate)[:, :length]  # (2, early samples)
    response[:, : early.shape[1]] += early
    response[:, 0] += 1.0
    _fade_out(response, round(min(0.25 * samplerate, length / 4)))
    return response * (10 ** (HALL_GAIN_DB / 20) / _pink_gain(response, samplerate))


def pluck(
    frequency: float,
    seconds: float,
    samplerate: int,
    rng: np.random.Generator,
    *,
    decay: float = 5.0,
    brightness: float = 1500.0,
    position: float = 0.13,
) -> np.ndarray:
    """One plucked string: a burst of noise, one period long, that goes round a lossy delay line.

    The string is Karplus and Strong's ("Digital Synthesis of Plucked-String and Drum Timbres", Computer
    Music Journal 7(2), 1983) with Jaffe and Smith's extensions ("Extensions of the Karplus-Strong
    Plucked-String Algorithm", same issue): an allpass in the loop that supplies the fraction of a sample
    that the period needs, a loop gain that sets the decay, a lowpass for soft notes, and a comb for the
    place where the string is plucked. With z^-1 the delay of one sample, the whole string is

        Y(z) = X(z) (1 - z^-M) (1 - R) / (1 - R z^-1) / (1 - g A(z) B(z) z^-N)
        A(z) = (1 + z^-1) / 2                 the string's losses, more for high frequencies
        B(z) = (C + z^-1) / (1 + C z^-1)      the fraction of a sample

    A recursion sample by sample is slow in Python, so Y is evaluated on a circle |z| = r and transformed
    back in one inverse FFT. On |z| = 1 what rings on after the FFT's length would wrap round to the note's
    start; with r > 1 it is r^-length of that.

    Args:
        frequency: of the fundamental in hertz; below a quarter of the sample rate.
        seconds: length of the note; its last 80 ms (or last quarter, if that is less) are the damping.
        samplerate: in hertz.
        rng: supplies the phases of the burst.
        decay: T60 of the fundamental in seconds, the lowpass's own losses left aside.
        brightness: cutoff in hertz of the lowpass that R makes: high for a nail, low for a soft thumb.
        position: where the string is plucked, as a fraction of its length.

    Returns:
        (samples,), float64, with no mean.
    """
    length = _samples(samplerate, seconds)
    if length == 0:
        return np.zeros(0)
    # Delay in samples at the fundamental: N from the line, 1/2 from A, the rest, 1/2 to 3/2, from B.
    period = samplerate / frequency
    line = int(period - 1.0)
    fraction = period - line - 0.5
    omega = 2 * math.pi * frequency / samplerate
    coefficient = math.sin((omega - omega * fraction) / 2) / math.sin((omega + omega * fraction) / 2)
    loop_gain = 10 ** (-3 / (decay * frequency))

    size = scipy.fft.next_fast_len(max(length, 2 * line), real=True)
    log_radius = math.log(WRAP_SUPPRESSION) / size
    weight = np.exp(-log_radius * np.arange(size))  # r^-n
    exponent = -1j * (2 * math.pi / size) * np.arange(size // 2 + 1) - log_radius
    delay = np.exp(exponent)  # z^-1, (bins,)

    burst = _burst(line, rng)
    spectrum = scipy.fft.rfft(burst * weight[: burst.size], size)
    spectrum *= 1 - np.exp(exponent * max(1, round(position * period)))
    lowpass = math.exp(-2 * math.pi * brightness / samplerate)  # R
    spectrum *= (1 - lowpass) / (1 - lowpass * delay)
    loop = np.exp(exponent * line)
    loop *= (0.5 * loop_gain) * (1 + delay)
    loop *= (coefficient + delay) / (1 + coefficient * delay)
    spectrum /= 1 - loop
    string = scipy.fft.irfft(spectrum, size)[:length] / weight[:length]
    _fade_out(string, round(min(0.08 * samplerate, length / 4)))
    return string - np.mean(string)


@dataclass(frozen=True)
class Note:
    """One note of the phrase."""

    onset: float  # seconds
    seconds: float
    frequency: float  # hertz
    level: float  # RMS of the note's first 0.2 s, before the phrase is normalised
    brightness: float  # hertz
    pan: float  # -1 left, 1 right


def phrase_notes() -> list[Note]:
    """The notes of `plucked_phrase`, first onset first: three broken chords and one that is strummed."""
    step = 0.24  # seconds from note to note
    lead_in = 0.1  # so that the first attack does not sit on the file's edge
    # MIDI note numbers. Am(add9), Fmaj9, G(add9), Am(add9); the top voice climbs E, G, A, B.
    broken = [(45, 52, 57, 60, 59, 64), (41, 48, 57, 60, 64, 67), (43, 50, 59, 62, 67, 69)]
    strummed = (45, 52, 57, 60, 64, 69, 71)
    strum = 0.035  # seconds from string to string
    strum_onset = lead_in + step * sum(len(chord) for chord in broken)

    notes = []
    for index, chord in enumerate(broken):
        # The strings ring on until the hand has moved to the next chord.
        damped = lead_in + step * len(chord) * (index + 1) + 0.1
        for place, pitch in enumerate(chord):
            onset = lead_in + step * (len(chord) * index + place)
            accent = 1.25 if place in (0, len(chord) - 1) else 0.9
            notes.append(_note(onset, damped - onset, pitch, accent))
    for place, pitch in enumerate(strummed):
        onset = strum_onset + strum * place
        notes.append(_note(onset, 6.45 - onset, pitch, 0.75))
    return notes


def _note(onset: float, seconds: float, pitch: int, level: float) -> Note:
    # Low strings to the left and high ones to the right, 0.4 at most: wide, with nothing at an edge.
    pan = max(-1.0, min(1.0, (pitch - 57) / 14)) * 0.4
    return Note(onset, seconds, 440.0 * 2 ** ((pitch - 69) / 12), level, 1000.0 * level, pan)


HALL_GAIN_DB = 0.0
"""What the hall does to the level of pink noise; see `hall`."""

TAIL_TO_DIRECT_DB = 3.5
"""Energy of the diffuse tail against that of the direct sound: a seat in the middle of the hall."""

WRAP_SUPPRESSION = 1e7
"""How much weaker a wrapped-round sample gets. Rounding errors grow by the same factor, to some 1e-9."""

SPEED_OF_SOUND = 343.0  # m/s

ROOM = (29.0, 17.0, 12.0)  # m: length, width, height
SOURCE = (6.0, 7.7, 1.4)
MICROPHONES = ((15.4, 6.9, 3.4), (15.0, 9.4, 3.3))
# Of amplitude at low frequencies, the wall at 0 first. The floor is the audience: it swallows most.
WALL_REFLECTIONS = ((0.9, 0.75), (0.88, 0.88), (0.35, 0.85))
WALL_CUTOFF = 9000.0  # Hz, where one more reflection costs 3 dB on top
RUMBLE_CUTOFF = 40.0  # Hz; below it reflections, all of one sign, would add up to a rumble


def _diffuse_tail(samplerate: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Noise whose octave bands decay at their own rates, (2, length), at TAIL_TO_DIRECT_DB on average."""
    size = scipy.fft.next_fast_len(length, real=True)
    spectrum = scipy.fft.rfft(rng.standard_normal((2, size)))  # (2, bins)
    frequencies = np.arange(size // 2 + 1) * (samplerate / size)
    time = np.arange(length) / samplerate
    centres = [centre for centre in DECAY_TIMES if centre < samplerate / 2] or [min(DECAY_TIMES)]
    tail = np.zeros((2, length))
    for index, centre in enumerate(centres):
        gain = _rise(frequencies, centre / math.sqrt(2))
        if index + 1 < len(centres):
            # Cosine against sine: neighbours add up to one in power.
            gain = gain * np.sqrt(1 - _rise(frequencies, centre * math.sqrt(2)) ** 2)
        decay = np.exp(-3 * math.log(10) / DECAY_TIMES[centre] * time)
        tail += scipy.fft.irfft(spectrum * gain, size)[:, :length] * decay
    # The reflections grow dense by and by. Without the ramp the noise would begin with the direct sound.
    ramp = np.clip(time / EARLY_SECONDS, 0, 1)
    tail *= np.sin(0.5 * math.pi * ramp) ** 2
    energy = np.mean(np.sum(tail**2, axis=-1))
    return tail * math.sqrt(10 ** (TAIL_TO_DIRECT_DB / 10) / energy) if energy > 0 else tail


def _rise(frequencies: np.ndarray, edge: float) -> np.ndarray:
    """A sine-shaped step from 0 to 1 over a third of an octave around `edge`.

    Wider, a band would hold so much of its slower neighbour that its late decay is the neighbour's.
    """
    octaves = np.log2(np.maximum(frequencies, 1e-3) / edge)
    return np.sin(0.5 * math.pi * np.clip(3 * octaves + 0.5, 0, 1))


def _early_reflections(samplerate: int) -> np.ndarray:
    """The image sources that arrive within EARLY_SECONDS of the direct sound, (2, samples)."""
    length = round(2 * EARLY_SECONDS * samplerate)  # the second half holds what the high-pass rings on
    size = scipy.fft.next_fast_len(2 * max(length, 1), real=True)
    frequencies = np.arange(size // 2 + 1) * (samplerate / size)
    s = 1j * frequencies / RUMBLE_CUTOFF
    high_pass = s**2 / (s**2 + math.sqrt(2) * s + 1)  # Butterworth, causal
    # As Allen and Berkley count them: along an axis of width W the images of x lie at (1 - 2q) x + 2nW, with
    # |n - q| reflections from the wall at 0 and |n| from the wall at W.
    axes = [
        [
            ((1 - 2 * q) * place + 2 * n * width, near ** abs(n - q) * far ** abs(n), abs(n - q) + abs(n))
            for n in (-1, 0, 1)
            for q in (0, 1)
        ]
        for width, place, (near, far) in zip(ROOM, SOURCE, WALL_REFLECTIONS, strict=True)
    ]
    channels = []
    for microphone in MICROPHONES:
        direct = math.dist(SOURCE, microphone)
        spectrum = np.zeros(frequencies.size, dtype=complex)
        for images in itertools.product(*axes):
            places, gains, orders = zip(*images, strict=True)
            distance = math.dist(places, microphone)
            arrival = (distance - direct) / SPEED_OF_SOUND
            if sum(orders) == 0 or arrival > EARLY_SECONDS:
                continue
            losses = (1 + (frequencies / WALL_CUTOFF) ** 2) ** (-sum(orders) / 2)
            gain = math.prod(gains) * direct / distance
            spectrum += gain * losses * np.exp(-2j * math.pi * arrival * frequencies)
        channels.append(scipy.fft.irfft(spectrum * high_pass, size)[:length])
    return np.stack(channels)


def _burst(length: int, rng: np.random.Generator) -> np.ndarray:
    """Noise with every harmonic equally strong and no mean: no note comes out thin by chance."""
    harmonics = np.exp(2j * math.pi * rng.random(length // 2 + 1))
    harmonics[0] = 0.0
    return scipy.fft.irfft(harmonics, length)


def _pink_gain(response: np.ndarray, samplerate: int) -> float:
    """RMS gain of `response` (channels, samples) for noise with equal energy in every octave from 63 Hz."""
    size = scipy.fft.next_fast_len(response.shape[-1], real=True)
    power = np.mean(np.abs(scipy.fft.rfft(response, size)) ** 2, axis=0)  # (bins,)
    frequencies = np.arange(power.size) * (samplerate / size)
    heard = frequencies >= min(DECAY_TIMES)
    if not np.any(heard):
        return float(np.sqrt(np.mean(power)))
    return float(np.sqrt(np.average(power[heard], weights=1 / frequencies[heard])))


def _fade_out(x: np.ndarray, count: int) -> None:
    """Half a cosine over the last `count` samples, in place; the sample after the last would be 0."""
    count = min(count, x.shape[-1])
    if count > 0:
        x[..., -count:] *= 0.5 + 0.5 * np.cos(math.pi * np.arange(1, count + 1) / (count + 1))


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x**2)))


def _samples(samplerate: int, seconds: float) -> int:
    if not samplerate > 0:
        raise OptionError(f"the sample rate is {samplerate}: it must be above 0 Hz")
    if not 0 <= seconds < math.inf:
        raise OptionError(f"the length is {seconds} seconds: it must be finite and not negative")
    return round(seconds * samplerate)
