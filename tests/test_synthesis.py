import math

import numpy as np
import pytest

from longconv_audio import synthesis
from longconv_audio.errors import OptionError
from longconv_audio.synthesis import DECAY_TIMES, hall, phrase_notes, pluck, plucked_phrase

RATE = 48000


@pytest.fixture(scope="module")
def phrase():
    return plucked_phrase(RATE)


@pytest.fixture(scope="module")
def room():
    return hall(RATE)


def generator(seed=1):
    return np.random.Generator(np.random.PCG64(seed))


def level_db(x):
    return 10 * np.log10(np.mean(np.square(x)))


def convolve(x, h):
    size = x.shape[-1] + h.shape[-1] - 1
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(h, size), size)


def peak_frequency(x, near, samplerate):
    """The frequency of the partial close to `near`: the top of a parabola through three log magnitudes."""
    size = 8 * len(x)
    magnitude = np.log(np.abs(np.fft.rfft(x * np.hanning(len(x)), size)) + 1e-300)
    low, high = (round(near * ratio * size / samplerate) for ratio in (0.97, 1.03))
    top = low + int(np.argmax(magnitude[low:high]))
    a, b, c = magnitude[top - 1 : top + 2]
    return (top + 0.5 * (a - c) / (a - 2 * b + c)) * samplerate / size


def decay_time(h, samplerate, centre):
    """T60 from the slope of half an octave's Schroeder integral between -5 and -35 dB (ISO 3382's T30).

    The band has smooth edges: a rectangle's ringing falls off more slowly than the hall does.
    """
    size = 2 * len(h)
    frequencies = np.fft.rfftfreq(size, 1 / samplerate)
    octaves = np.abs(np.log2(np.maximum(frequencies, 1e-3) / centre))
    gain = np.cos(0.5 * np.pi * np.minimum(2 * octaves, 1)) ** 2
    band = np.fft.irfft(np.fft.rfft(h, size) * gain, size)[: len(h)]
    curve = np.cumsum(band[::-1] ** 2)[::-1]
    curve = 10 * np.log10(curve / curve[0])
    part = np.flatnonzero((curve < -5) & (curve > -35))
    return -60 / (np.polyfit(part, curve[part], 1)[0] * samplerate)


class TestPluck:
    @pytest.mark.parametrize("samplerate", [8000, 44100, 48000, 96000])
    @pytest.mark.parametrize("frequency", [82.41, 220.0, 493.88])
    def test_fundamental_is_in_tune(self, frequency, samplerate):
        string = pluck(frequency, 1.0, samplerate, generator())
        found = peak_frequency(string, frequency, samplerate)
        assert abs(1200 * math.log2(found / frequency)) < 0.5

    @pytest.mark.parametrize("harmonic", [2, 3, 4])
    def test_harmonics_are_in_tune(self, harmonic):
        string = pluck(329.63, 1.0, RATE, generator(), position=0.13)
        found = peak_frequency(string, harmonic * 329.63, RATE)
        assert abs(1200 * math.log2(found / (harmonic * 329.63))) < 3

    def test_equals_the_recursion(self):
        frequency, decay, brightness, position = 440.0, 2.0, 1500.0, 0.13
        string = pluck(frequency, 0.25, RATE, generator(), decay=decay, brightness=brightness, position=position)
        period = RATE / frequency
        line = int(period - 1)
        fraction = period - line - 0.5
        omega = 2 * math.pi * frequency / RATE
        c = math.sin((omega - omega * fraction) / 2) / math.sin((omega + omega * fraction) / 2)
        g = 10 ** (-3 / (decay * frequency))
        r = math.exp(-2 * math.pi * brightness / RATE)
        count = 6000
        burst = np.zeros(count)
        burst[:line] = synthesis._burst(line, generator())
        comb = round(position * period)
        burst[comb:] -= burst[:-comb].copy()
        y, soft, averaged, tuned = (np.zeros(count) for _ in range(4))
        for n in range(count):
            soft[n] = (1 - r) * burst[n] + (r * soft[n - 1] if n else 0.0)
            y[n] = soft[n] + (tuned[n - line] if n >= line else 0.0)
            averaged[n] = 0.5 * g * (y[n] + (y[n - 1] if n else 0.0))
            tuned[n] = c * averaged[n] + ((averaged[n - 1] - c * tuned[n - 1]) if n else 0.0)
        assert np.max(np.abs(y)) > 0.01
        # The note's mean, which `pluck` takes out, is all that may differ.
        difference = string[:count] - y
        assert np.ptp(difference) < 1e-6 * np.max(np.abs(y))

    def test_fundamental_decays_as_asked(self):
        string = pluck(110.0, 3.0, RATE, generator(), decay=3.0)
        turn = np.exp(-2j * np.pi * 110.0 * np.arange(string.size) / RATE)
        periods = round(0.5 * 110) * RATE / 110
        first, second = (abs(np.mean((string * turn)[s : s + round(periods)])) for s in (12000, 84000))
        assert 20 * math.log10(second / first) == pytest.approx(-60 * 1.5 / 3.0, abs=0.5)

    def test_ends_without_a_step(self):
        string = pluck(220.0, 0.3, RATE, generator())
        assert abs(string[-1]) < 1e-3 * np.max(np.abs(string))


class TestPhrase:
    def test_shape_and_peak(self, phrase):
        assert phrase.shape == (2, 8 * RATE)
        assert phrase.dtype == np.float64
        assert np.all(np.isfinite(phrase))
        assert np.max(np.abs(phrase)) == pytest.approx(10 ** (-6 / 20), rel=1e-12)

    def test_same_seed_same_samples(self, phrase):
        assert np.array_equal(phrase, plucked_phrase(RATE))
        assert not np.array_equal(phrase, plucked_phrase(RATE, seed=2))

    def test_has_no_mean(self, phrase):
        assert np.max(np.abs(np.mean(phrase, axis=-1))) < 1e-9

    def test_ends_in_time_for_the_halls_tail(self, phrase):
        assert not np.any(phrase[:, round(6.5 * RATE) :])
        assert level_db(phrase[:, round(5.5 * RATE) : round(6.0 * RATE)]) > -60

    def test_both_channels_are_about_as_loud(self, phrase):
        left, right = level_db(phrase[0]), level_db(phrase[1])
        assert abs(left - right) < 2
        assert np.corrcoef(phrase)[0, 1] < 0.98

    def test_begins_in_silence(self, phrase):
        start = round(phrase_notes()[0].onset * RATE)
        assert not np.any(phrase[:, :start])
        assert np.any(phrase[:, start : start + 200])

    def test_notes_begin_where_they_should(self, phrase):
        notes = phrase_notes()
        assert [note.onset for note in notes] == sorted(note.onset for note in notes)
        # The second difference favours the attacks over the strings that still ring.
        sharp = np.diff(np.mean(phrase, axis=0), n=2)
        for note in notes:
            start, width = round(note.onset * RATE), round(0.005 * RATE)
            rise = level_db(sharp[start : start + width]) - level_db(sharp[start - width : start] + 1e-12)
            assert rise > 8, note

    def test_another_rate_has_the_same_music(self, phrase):
        other = plucked_phrase(24000)
        assert other.shape == (2, 8 * 24000)
        windows = [(start, start + 0.5) for start in np.arange(0.1, 6.0, 0.5)]
        ours = [level_db(phrase[:, round(a * RATE) : round(b * RATE)]) for a, b in windows]
        theirs = [level_db(other[:, round(a * 24000) : round(b * 24000)]) for a, b in windows]
        assert np.max(np.abs(np.subtract(ours, theirs))) < 6

    @pytest.mark.parametrize(("seconds", "samples"), [(0, 0), (0.05, 2400), (2.0, 96000), (9.0, 432000)])
    def test_other_lengths(self, seconds, samples):
        cut = plucked_phrase(RATE, seconds)
        assert cut.shape == (2, samples)
        assert np.all(np.isfinite(cut))
        assert np.max(np.abs(cut[:, -1:]), initial=0.0) < 1e-3
        assert np.any(cut) == (seconds > 0.1)

    @pytest.mark.parametrize("make", [plucked_phrase, hall])
    @pytest.mark.parametrize("arguments", [(0, 1.0), (-1, 1.0), (RATE, -1.0), (RATE, math.nan), (RATE, math.inf)])
    def test_nonsense_is_refused(self, make, arguments):
        with pytest.raises(OptionError):
            make(*arguments)

    @pytest.mark.parametrize("samplerate", [1, 100, 400, 1000])
    def test_low_rates_do_not_fail(self, samplerate):
        assert plucked_phrase(samplerate).shape == (2, 8 * samplerate)
        response = hall(samplerate)
        assert response.shape == (2, 3 * samplerate)
        assert np.all(np.isfinite(response))


class TestHall:
    def test_shape(self, room):
        assert room.shape == (2, 3 * RATE)
        assert room.dtype == np.float64
        assert np.all(np.isfinite(room))

    def test_same_seed_same_samples(self, room):
        assert np.array_equal(room, hall(RATE))
        assert not np.array_equal(room, hall(RATE, seed=2))

    @pytest.mark.parametrize("channel", [0, 1])
    @pytest.mark.parametrize("centre", [125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0])
    def test_decay_times(self, room, centre, channel):
        assert decay_time(room[channel], RATE, centre) == pytest.approx(DECAY_TIMES[centre], rel=0.1)

    def test_decay_times_at_another_rate(self):
        other = hall(32000)[0]
        for centre in (250.0, 1000.0, 4000.0):
            assert decay_time(other, 32000, centre) == pytest.approx(DECAY_TIMES[centre], rel=0.1)

    def test_direct_sound_comes_first_and_is_the_peak(self, room):
        assert np.array_equal(np.argmax(np.abs(room), axis=-1), [0, 0])
        assert room[0, 0] == pytest.approx(room[1, 0], rel=0.05)

    def test_reflections_differ_between_the_ears(self, room):
        early = room[:, 48 : round(synthesis.EARLY_SECONDS * RATE)]
        energy = np.sum(early**2, axis=-1) / room[:, 0] ** 2
        assert np.all((energy > 0.5) & (energy < 3))
        assert abs(np.corrcoef(early)[0, 1]) < 0.3
        # Single reflections stand out of what lies between them; noise would have a kurtosis of 3.
        assert np.all(np.mean(early**4, axis=-1) / np.mean(early**2, axis=-1) ** 2 > 8)

    def test_tails_are_decorrelated(self, room):
        tail = room[:, round(0.1 * RATE) : round(2.0 * RATE)]
        assert abs(np.corrcoef(tail)[0, 1]) < 0.1

    def test_no_rumble(self, room):
        spectrum = np.mean(np.abs(np.fft.rfft(room[:, 1:])) ** 2, axis=0)
        frequencies = np.fft.rfftfreq(room.shape[1] - 1, 1 / RATE)
        rumble = np.mean(spectrum[frequencies < 15])
        music = np.mean(spectrum[(frequencies > 100) & (frequencies < 1000)])
        assert 10 * math.log10(rumble / music) < -15

    def test_ends_without_a_step(self, room):
        assert np.max(np.abs(room[:, -1])) < 1e-9
        assert level_db(room[:, -12000:-6000]) > -140

    def test_full_wet_is_as_loud_and_does_not_clip(self, phrase, room):
        wet = convolve(phrase, room)
        assert np.max(np.abs(wet)) < 10 ** (-1 / 20)
        sounding = slice(0, round(6.5 * RATE))
        assert abs(level_db(wet[:, sounding]) - level_db(phrase[:, sounding])) < 1.5

    def test_the_halls_tail_is_heard_after_the_phrase(self, phrase, room):
        wet = convolve(phrase, room)
        assert level_db(wet[:, round(6.5 * RATE) : round(7.0 * RATE)]) > -65

    @pytest.mark.parametrize("seconds", [0, 1 / RATE, 0.01, 0.5])
    def test_short_halls(self, seconds):
        response = hall(RATE, seconds)
        assert response.shape == (2, round(seconds * RATE))
        assert np.all(np.isfinite(response))
        assert np.any(response) == (seconds > 0)
