"""Room parameters against decays whose every number is known."""

import math

import numpy as np
import pytest

from longconv_audio.filters import octave_bands, room_parameters
from longconv_audio.filters.acoustics import BandParameters, RoomParameters, mean_parameters

RATE = 48_000
# Seconds for 60 dB, over more than a decade.
TIMES = {"63": 4.0, "125": 3.0, "250": 2.0, "500": 1.5, "1k": 1.0, "2k": 0.7, "4k": 0.5, "8k": 0.35, "16k": 0.25}


def tones(times, seconds, rate=RATE, fraction=1, start=0.0):
    """A cosine in the middle of each band, with that band's decay."""
    t = np.arange(round(seconds * rate)) / rate
    bands = [band for band in octave_bands(fraction) if band.name in times]
    return sum(
        np.cos(2 * np.pi * band.centre * t + i + start) * fall(t, times[band.name]) for i, band in enumerate(bands)
    )


def fall(t, t60):
    return 10 ** (-3 * t / t60)


def noise_tail(rng, t60, seconds, distance=None):
    t = np.arange(round(seconds * RATE)) / RATE
    h = rng.standard_normal(t.size) * fall(t, t60)
    return h if distance is None else h + 10 ** (-distance / 20) * rng.standard_normal(t.size)


def by_name(h, rate=RATE, bands=None):
    (room,) = room_parameters(h, rate, bands)
    return {band.band: band for band in room.bands}


class TestClean:
    @pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
    def test_times_by_octave(self, rate):
        # Leading silence, and neither it nor the decays of other bands change a band's.
        found = by_name(np.concatenate([np.zeros(4321), tones(TIMES, 4.0, rate)]), rate)
        for name, t60 in TIMES.items():
            if rate == 44_100 and name == "16k":
                assert found[name].t20 is None
                assert "half the sample rate, 22050 Hz" in found[name].missing["t20"]
                continue
            for time in (found[name].edt, found[name].t20, found[name].t30):
                assert abs(time / t60 - 1) < 0.01, (name, found[name])
            assert abs(found[name].curvature) < 1
            assert found[name].nonlinearity_t20 < 1
            assert found[name].missing == {}

    def test_times_by_third_octave(self):
        names = [band.name for band in octave_bands(3, 50, 20_000)]
        times = dict(zip(names, np.geomspace(6.0, 0.3, len(names)), strict=True))
        found = by_name(tones(times, 5.0, fraction=3), bands=octave_bands(3, 50, 20_000))
        for name, t60 in times.items():
            assert abs(found[name].t20 / t60 - 1) < 0.01, (name, found[name])
            assert abs(found[name].t30 / t60 - 1) < 0.01

    @pytest.mark.parametrize(("times", "powers"), [((0.5, 2.0), (1, 0.05)), ((0.3, 1.2), (1, 0.01))])
    def test_each_time_has_a_range_of_its_own(self, times, powers):
        # Two rooms coupled: the curve bends, so that every part of it has another slope.
        t, rates = np.arange(4 * RATE)[:, None] / RATE, 6 * math.log(10) / np.array(times)
        still = np.exp(-rates * t) @ (powers / rates)
        curve = 10 * np.log10(still / still[0])
        h = np.cos(2 * np.pi * 4000 * t[:, 0]) * np.sqrt(np.exp(-rates * t) @ powers)
        found = by_name(h, bands=octave_bands(1, 4000, 4000))["4k"]
        for name, top, bottom in (("edt", 0, -10), ("t20", -5, -25), ("t30", -5, -35)):
            used = (curve <= top) & (curve >= bottom)
            expected = -60 / np.polyfit(t[used, 0], curve[used], 1)[0]
            assert abs(getattr(found, name) / expected - 1) < 0.01, name
        assert abs(found.curvature - 100 * (found.t30 / found.t20 - 1)) < 1e-9
        late = {name: still[round(seconds * RATE)] / still[0] for name, seconds in (("c50", 0.05), ("c80", 0.08))}
        for name, share in late.items():
            assert abs(getattr(found, name) - 10 * math.log10(1 / share - 1)) < 0.05
        assert abs(found.d50 - (1 - late["c50"])) < 0.003
        assert abs(found.ts - (powers / rates**2).sum() / still[0]) < 0.001

    def test_energies_of_a_decay_that_is_cut_off_have_what_would_have_followed(self):
        # At -24 dB; a thirtieth of what comes after 80 ms is missing.
        found = by_name(tones({"4k": 1.0}, 0.4), bands=octave_bands(1, 4000, 4000))["4k"]
        whole = by_name(tones({"4k": 1.0}, 3.0), bands=octave_bands(1, 4000, 4000))["4k"]
        for name, within in (("c50", 0.03), ("c80", 0.03), ("d50", 0.002), ("ts", 0.0005)):
            assert abs(getattr(found, name) - getattr(whole, name)) < within, name

    @pytest.mark.parametrize(("period", "lowest"), [(240, 1000), (1920, 630)])
    def test_energies_have_closed_forms(self, period, lowest):
        # Impulses in a geometric series, as one hears between two walls: the same in every band that can tell them
        # apart. They begin behind silence.
        t60, rate = 0.8, 6 * math.log(10) / 0.8
        h = np.zeros(2 * RATE)
        h[777::period] = fall(np.arange(0, 2 * RATE - 777, period) / RATE, t60)
        early = {"c50": math.ceil(2400 / period), "c80": math.ceil(3840 / period)}
        q = math.exp(-rate * period / RATE)
        bands = octave_bands(1 if period < 1000 else 3, lowest, 8000)
        for band in by_name(h, bands=bands).values():
            for name, count in early.items():
                assert abs(getattr(band, name) - 10 * math.log10((1 - q**count) / q**count)) < 0.05, (band, name)
            assert abs(band.d50 - (1 - q ** early["c50"])) < 0.002
            assert abs(band.ts - period / RATE * q / (1 - q)) < 0.0005
            assert abs(band.t30 / t60 - 1) < 0.01

    def test_noise_in_the_mean_of_many(self, rng):
        # Of noise, a single decay's time is known to some per cent only: their mean is held to 1.
        rooms = [room_parameters(noise_tail(rng, 1.0, 1.5), RATE, octave_bands(1, 4000, 8000))[0] for _ in range(25)]
        for band in mean_parameters(rooms).bands:
            assert abs(band.t20 - 1) < 0.01
            assert abs(band.t30 - 1) < 0.01
            assert abs(band.c80 - 10 * math.log10(math.expm1(0.08 * 6 * math.log(10)))) < 0.1

    def test_warnings_of_a_mean_say_whether_they_are_of_all_channels(self):
        one, two = "T20: bent", "T30: bent"
        rows = [BandParameters("1k", 1000.0, warnings=warnings) for warnings in ([one, two], [two])]
        (band,) = mean_parameters([RoomParameters([row], {}) for row in rows]).bands
        assert band.warnings == ["T20: bent, in some channels", "T30: bent"]

    def test_mid(self):
        (room,) = room_parameters(tones(TIMES, 4.0), RATE)
        assert abs(room.mid["t30"] - 1.25) < 0.01
        # ISO 3382-1, table A.1: 500 Hz and 1 kHz, for clarity, too.
        assert np.isclose(room.mid["c80"], np.mean([band.c80 for band in room.bands if band.band in ("500", "1k")]))
        (room,) = room_parameters(tones(TIMES, 4.0), RATE, octave_bands(1, 1000, 4000))
        assert (room.mid["t30"], room.mid["c80"]) == (None, None)


class TestNoise:
    @pytest.mark.parametrize("name", ["250", "500", "1k", "4k", "16k"])
    def test_known_times_at_35_db(self, name, rng):
        # Each band's tone above noise that has 35 dB less in the band.
        t60, (band,) = TIMES[name], [band for band in octave_bands() if band.name == name]
        h = tones({name: t60}, 2 * t60)
        share = (band.high - band.low) / (RATE / 2)
        h += 10 ** (-35 / 20) * np.sqrt(0.5 / share) * rng.standard_normal(h.size)
        found = by_name(h, bands=[band])[name]
        assert abs(found.noise_distance_db - 35) < 1.5
        assert abs(found.t20 / t60 - 1) < 0.05
        assert abs(found.edt / t60 - 1) < 0.05
        assert abs(found.t30 / t60 - 1) < 0.05
        assert any("T30: the noise is" in warning and "asks for 45 dB" in warning for warning in found.warnings)
        assert not any("T20" in warning for warning in found.warnings)

    def test_noise_in_noise_at_35_db(self, rng):
        bands = octave_bands(1, 1000, 8000)
        # The band's noise distance is that of the whole: both are white.
        rooms = [room_parameters(noise_tail(rng, 1.0, 2.0, 35), RATE, bands)[0] for _ in range(8)]
        for band in mean_parameters(rooms).bands:
            assert abs(band.t20 - 1) < 0.05
            assert abs(band.edt - 1) < 0.1
            assert abs(band.noise_distance_db - 35) < 1
            assert abs(band.t30 - 1) < 0.05

    def test_energies_less_their_noise(self, rng):
        # A tone 27 dB above the band's noise, of which three seconds have a tenth of the energy after 80 ms.
        (band,), times = octave_bands(1, 8000, 8000), []
        for _ in range(4):
            h = tones({"8k": 1.0}, 3.0)
            h += 10 ** (-27 / 20) * np.sqrt(0.5 / ((band.high - band.low) / (RATE / 2))) * rng.standard_normal(h.size)
            times.append(by_name(h, bands=[band])["8k"])
        assert abs(np.mean([found.c80 for found in times]) - 10 * math.log10(math.expm1(0.48 * math.log(10)))) < 0.1
        assert abs(np.mean([found.ts for found in times]) - 1 / (6 * math.log(10))) < 0.002

    def test_no_number_where_the_range_ends_in_the_noise(self, rng):
        rooms = [room_parameters(noise_tail(rng, 1.0, 2.0, 29), RATE, octave_bands(1, 2000, 8000))[0] for _ in range(2)]
        for band in (band for room in rooms for band in room.bands):
            assert band.t30 is None
            assert "35 dB are needed" in band.missing["t30"]
            assert abs(band.t20 - 1) < 0.15
            assert any("T20: the noise is" in warning for warning in band.warnings)

    def test_at_45_db_there_is_t30(self, rng):
        rooms = [
            room_parameters(noise_tail(rng, 1.0, 2.0, 45.5), RATE, octave_bands(1, 2000, 4000))[0] for _ in range(8)
        ]
        for band in mean_parameters(rooms).bands:
            assert abs(band.t30 - 1) < 0.05
            assert abs(band.c80 - 10 * math.log10(math.expm1(0.08 * 6 * math.log(10)))) < 0.5

    def test_too_near_for_anything(self, rng):
        found = by_name(noise_tail(rng, 1.0, 2.0, 12), bands=octave_bands(1, 2000, 2000))["2k"]
        assert (found.edt, found.t20, found.t30, found.c80, found.ts) == (None,) * 5
        assert "noise" in found.missing["edt"] or "line" in found.missing["edt"]
        assert set(found.missing) == {"edt", "t20", "t30", "c50", "c80", "d50", "ts"}


class TestShape:
    def test_a_decay_at_two_rates(self):
        h = tones({"1k": 0.4}, 3.0) + 0.03 * tones({"1k": 3.0}, 3.0)
        found = by_name(h, bands=octave_bands(1, 1000, 1000))["1k"]
        t = np.arange(h.size) / RATE
        curve = np.cumsum((fall(t, 0.4) + 0.03 * fall(t, 3.0))[::-1] ** 2)[::-1]
        curve = 10 * np.log10(curve / curve[0])
        for name, low in (("t20", -25), ("t30", -35)):
            part = (curve <= -5) & (curve >= low)
            slope = np.polyfit(t[part], curve[part], 1)[0]
            r = np.corrcoef(t[part], curve[part])[0, 1]
            assert abs(getattr(found, name) / (-60 / slope) - 1) < 0.03
            assert abs(getattr(found, f"nonlinearity_{name}") / (1000 * (1 - r**2)) - 1) < 0.1
        assert found.curvature > 10
        assert any("two rates" in warning for warning in found.warnings)
        assert any("nonlinearity" in warning for warning in found.warnings)

    def test_direct_sound_and_one_echo(self):
        # No filter smears the direct sound beyond 50 ms, however narrow the band.
        h = np.zeros(24_000)
        h[100], h[100 + 12_000] = 1.0, 0.1
        for band in by_name(h, bands=octave_bands(3, 50, 10_000)).values():
            assert abs(band.c80 - 20) < 1e-6
            assert abs(band.d50 - 1 / 1.01) < 1e-6
            assert (band.edt, band.t20, band.t30) == (None, None, None)


class TestNotMeasurable:
    def everything_missing(self, h, reason, rate=RATE, bands=None):
        for band in by_name(h, rate, bands).values():
            assert (band.edt, band.t20, band.t30, band.c50, band.c80, band.d50, band.ts) == (None,) * 7
            assert set(band.missing) == {"edt", "t20", "t30", "c50", "c80", "d50", "ts"}
            assert all(reason in why for why in band.missing.values())

    def test_silence_one_tap_and_what_never_decays(self, rng):
        self.everything_missing(np.zeros(RATE), "silence")
        self.everything_missing(np.concatenate([np.zeros(50), [1.0], np.zeros(RATE)]), "the response lasts")
        self.everything_missing(rng.standard_normal(RATE), "less than 10 dB")
        self.everything_missing(tones({"1k": 1e9}, 1.0), "less than 10 dB", bands=octave_bands(1, 1000, 1000))
        self.everything_missing(tones({"1k": 0.5}, 1.0), "half the sample rate", 8000, octave_bands(1, 4000, 16_000))

    def test_shorter_than_a_period(self):
        found = by_name(tones(dict.fromkeys(TIMES, 0.01), 0.012))
        assert "the response lasts 12 ms" in found["63"].missing["t30"]
        assert "the response lasts 12 ms" in found["63"].missing["c80"]
        assert found["125"].t30 is None
        assert abs(found["8k"].t30 / 0.01 - 1) < 0.02

    def test_what_follows_a_dry_response_is_noise(self, rng):
        h = 1e-3 * rng.standard_normal(RATE)
        h[100] = 1.0
        for band in by_name(h, bands=octave_bands(1, 500, 8000)).values():
            assert (band.t20, band.t30, band.c50, band.c80, band.d50) == (None,) * 5

    def test_too_fast_for_the_band(self):
        found = by_name(tones({"125": 0.1}, 1.0), bands=octave_bands(1, 125, 125))["125"]
        assert found.t20 is None
        assert "B T" in found.missing["t20"]

    def test_what_the_neighbours_bring(self, rng):
        spectrum = np.fft.rfft(np.concatenate([np.zeros(RATE // 2), noise_tail(rng, 1.0, 2.0)]))
        spectrum[2 * 2500 :] = 0
        found = by_name(np.fft.irfft(spectrum), bands=octave_bands(1, 1000, 8000))
        assert found["1k"].t30 is not None
        assert "beyond its edges" in found["8k"].missing["t30"]


def test_channels_and_their_mean():
    h = np.stack([tones({"1k": 1.0}, 2.0), tones({"1k": 2.0}, 2.0)])
    rooms = room_parameters(h, RATE, octave_bands(1, 1000, 1000))
    assert [round(room.bands[0].t20, 2) for room in rooms] == [1.0, 2.0]
    assert abs(mean_parameters(rooms).bands[0].t20 - 1.5) < 0.01
    # The mean is of those that have a number.
    rooms = room_parameters(h * [[1], [0]], RATE, octave_bands(1, 1000, 1000))
    mean = mean_parameters(rooms).bands[0]
    assert np.isclose(mean.t20, rooms[0].bands[0].t20)
    assert mean.missing == {}
    assert mean_parameters(rooms[1:]).bands[0].missing["t20"] == "silence"


def test_a_response_cut_off_far_above_its_noise(rng):
    # As of a synthetic room that was measured: the decay ends in a cliff, and nothing late is left to fit a line to.
    h = noise_tail(rng, 0.3, 2.0)
    h[round(0.32 * RATE) :] = 0
    h += 1e-9 * rng.standard_normal(h.size)
    for band in by_name(h, bands=octave_bands(1, 1000, 8000)).values():
        for time in (band.t20, band.t30):
            assert abs(time / 0.3 - 1) < 0.15
