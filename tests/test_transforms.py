"""Augmentation against loops in float64."""

import numpy as np
import pytest
import torch

import longconv_audio
from longconv_audio.audio_io import AudioWriter
from longconv_audio.errors import OptionError, UnreadableError
from longconv_audio.transforms import (
    Compose,
    Convolve,
    RandomGain,
    RandomImpulseResponse,
    RandomNoise,
    RandomTimeShift,
    SyntheticRooms,
)
from tests.measures import snr

RATE = 16_000
EXACT = 120.0  # dB

pytestmark = pytest.mark.usefixtures("one_thread")


def batch(rng, *shape):
    return torch.from_numpy(rng.standard_normal(shape)).float()


def seeded(seed=7):
    return torch.Generator().manual_seed(seed)


def each_seeded(count, first=100):
    return [seeded(first + i) for i in range(count)]


def filtered(x, k):
    """The full convolutions of (B, C, L) with (C, K) or (1, K), in float64, by a loop."""
    x, k = np.asarray(x, np.float64), np.asarray(k, np.float64)
    k = np.broadcast_to(k, (x.shape[1], k.shape[-1]))
    return np.stack([[np.convolve(row, taps) for row, taps in zip(item, k, strict=True)] for item in x])


def test_the_package_has_the_module():
    assert longconv_audio.transforms.Convolve is Convolve
    assert "transforms" in dir(longconv_audio)


class TestConvolve:
    @pytest.mark.parametrize("taps", [1, 7, 500])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_lengths_and_channels(self, rng, taps, channels):
        x, k = batch(rng, 2, 3, 200), batch(rng, channels, taps)
        full = filtered(x, k)
        assert snr(Convolve(k)(x), full[..., :200]) > EXACT
        assert snr(Convolve(k, leave_length_unchanged=False)(x), full) > EXACT

    def test_propagation_delay(self, rng):
        x, k = batch(rng, 2, 2, 100), 0.1 * batch(rng, 2, 30)
        k[1, 12] = 5.0
        expected = filtered(x, k)[..., 12:]
        assert snr(Convolve(k, compensate_for_propagation_delay=True)(x), expected[..., :100]) > EXACT
        whole = Convolve(k, compensate_for_propagation_delay=True, leave_length_unchanged=False)(x)
        assert snr(whole, expected) > EXACT

    @pytest.mark.parametrize(("normalize", "size"), [("peak", np.max), ("l2", np.linalg.norm)])
    def test_levels(self, rng, normalize, size):
        x, k = batch(rng, 1, 1, 50), batch(rng, 1, 20)
        expected = filtered(x, k.numpy() / size(np.abs(k.numpy())))[..., :50]
        assert snr(Convolve(k, normalize=normalize)(x), expected) > EXACT

    def test_a_file_at_another_rate(self, rng, tmp_path):
        """A filter that is band limited is the same filter at either rate: here a windowed sinc."""
        soundfile = pytest.importorskip("soundfile")
        time = np.arange(-200, 201)
        k = np.sinc(time / 8) / 8 * np.hanning(401)
        soundfile.write(str(tmp_path / "ir.wav"), k, 2 * RATE, subtype="DOUBLE")
        time = time[::2]
        x, k = batch(rng, 1, 1, 1000), np.sinc(time / 8) / 4 * np.hanning(401)[::2]
        assert snr(Convolve(tmp_path / "ir.wav", RATE)(x), filtered(x, k[None])[..., :1000]) > 60

    def test_dtypes(self, rng):
        x, k = batch(rng, 1, 2, 64), batch(rng, 1, 9)
        for dtype in (torch.float64, torch.bfloat16):
            y = Convolve(k)(x.to(dtype))
            assert y.dtype == dtype
            assert snr(y.double(), filtered(x, k)[..., :64]) > 35

    def test_refusals(self, rng, tmp_path):
        x = batch(rng, 1, 2, 10)
        with pytest.raises(ValueError, match="2 channels and the IR 3"):
            Convolve(batch(rng, 3, 4))(x)
        with pytest.raises(ValueError, match=r"shape \(2, 10\)"):
            Convolve(batch(rng, 1, 4))(x[0])
        with pytest.raises(TypeError, match="int64"):
            Convolve(batch(rng, 1, 4))(x.long())
        with pytest.raises(OptionError, match="all taps of it are zero"):
            Convolve(torch.zeros(5))
        with pytest.raises(OptionError, match="all taps of channel 2 of 2 are zero"):
            RandomImpulseResponse([torch.tensor([[1.0, 2.0], [0.0, 0.0]])])
        for taps in (torch.ones(3, dtype=torch.complex64), np.array([1j])):
            with pytest.raises(ValueError, match="is complex128; expected real taps"):
                Convolve(taps)
        with pytest.raises(ValueError, match="NaN"):
            Convolve(torch.tensor([1.0, torch.nan]))
        with pytest.raises(OptionError, match="normalize is 'rms'"):
            Convolve(torch.ones(3), normalize="rms")
        with pytest.raises(UnreadableError, match="no such file"):
            Convolve(tmp_path / "ir.wav", RATE)


class TestRandomImpulseResponse:
    def bank(self, rng):
        return [0.3 * batch(rng, taps) for taps in (5, 40, 17)] + [batch(rng, 2, 8)]

    @pytest.mark.parametrize("compensate", [False, True])
    @pytest.mark.parametrize("unchanged", [False, True])
    def test_each_item_has_a_filter_of_the_list(self, rng, compensate, unchanged):
        x, irs = batch(rng, 24, 2, 60), self.bank(rng)
        transform = RandomImpulseResponse(
            irs, p=1.0, compensate_for_propagation_delay=compensate, leave_length_unchanged=unchanged
        )
        y = transform(x, seeded()).numpy()
        rows = [row.numpy() for ir in irs for row in torch.atleast_2d(ir)]
        found = []
        for item, result in zip(x, y, strict=True):
            fits = []
            for row in rows:
                start = np.abs(row).argmax() if compensate else 0
                full = filtered(item[None], row[None])[0][:, start:]
                full = np.pad(full, ((0, 0), (0, max(0, y.shape[2] - full.shape[1]))))[:, : y.shape[2]]
                fits.append(snr(result, full))
            assert max(fits) > EXACT
            found.append(int(np.argmax(fits)))
        assert set(found) == set(range(len(rows)))

    def test_what_is_not_chosen_stays_as_it_is(self, rng):
        x = batch(rng, 40, 1, 50)
        transform = RandomImpulseResponse([torch.tensor([0.5, 2.0])], p=0.5)
        y = transform(x, seeded())
        same = (y == x).all(2).squeeze(1)
        assert 8 < same.sum() < 32
        assert snr(y[~same], filtered(x[~same], np.array([[0.5, 2.0]]))[..., :50]) > EXACT
        assert torch.equal(RandomImpulseResponse([torch.ones(3)], p=0.0)(x), x)
        longer = RandomImpulseResponse([torch.tensor([0.5, 2.0])], p=0.5, leave_length_unchanged=False)(x, seeded())
        assert torch.equal(longer[same], torch.nn.functional.pad(x[same], (0, 1)))

    def test_a_folder(self, rng, tmp_path):
        (tmp_path / "halls").mkdir()
        np.save(tmp_path / "halls" / "a.npy", np.array([0.0, 2.0]))
        with AudioWriter(tmp_path / "b.wav", samplerate=RATE, channels=2) as writer:
            writer.write(np.array([[3.0, 0.0], [4.0, 0.0]]))
        (tmp_path / "notes.txt").write_text("no audio")
        x = batch(rng, 30, 1, 20)
        y = RandomImpulseResponse(tmp_path, RATE, p=1.0)(x, seeded())
        gains = (y[:, 0, 1:].norm(dim=1) / torch.maximum(x[:, 0, 1:].norm(dim=1), x[:, 0, :-1].norm(dim=1))).tolist()
        assert {round(gain) for gain in gains} == {2, 3, 4}

    def test_synthetic_rooms(self, rng):
        x = batch(rng, 3, 2, 100)
        rooms = SyntheticRooms(1000, max_t60=0.3)
        y = RandomImpulseResponse(rooms, p=1.0)(x, each_seeded(3))
        k = torch.cat([RoomsAfterChoice(rooms)(seeded(100 + i)) for i in range(3)])
        expected = np.concatenate([filtered(x[i : i + 1], k[i : i + 1]) for i in range(3)])
        assert snr(y, expected[..., :100]) > EXACT

    def test_refusals(self, tmp_path):
        with pytest.raises(UnreadableError, match="holds no impulse responses"):
            RandomImpulseResponse(tmp_path, RATE)
        with pytest.raises(UnreadableError, match="no such folder"):
            RandomImpulseResponse(tmp_path / "rooms", RATE)
        with pytest.raises(OptionError, match="empty"):
            RandomImpulseResponse([])
        with pytest.raises(OptionError, match=r"p is 1\.5"):
            RandomImpulseResponse([torch.ones(3)], p=1.5)
        with pytest.raises(OptionError, match="a function that draws them"):
            RandomImpulseResponse(SyntheticRooms(RATE), normalize="l2")


class RoomsAfterChoice:
    """What `rooms` draws for one item, once the transform has drawn whether the item is chosen."""

    def __init__(self, rooms):
        self.rooms = rooms

    def __call__(self, generator):
        torch.rand(1, dtype=torch.float64, generator=generator)
        return self.rooms(1, generator)


class TestSyntheticRooms:
    def test_decay_and_direct_sound(self):
        rooms = SyntheticRooms(RATE, min_t60=0.4, max_t60=0.5, min_direct_db=6, max_direct_db=6, max_delay=0.01)
        k = rooms(8, seeded()).double()
        assert k.shape == (8, 8000)
        assert (k[:, 0] == 1).all()
        tail = k[:, 1:]
        assert torch.allclose(tail.square().sum(1), torch.tensor(10**-0.6).double(), rtol=1e-4)
        # Schroeder's integral falls by 60 dB in T60; its slope from -5 to -25 dB.
        energy = tail.square().flip(1).cumsum(1).flip(1)
        level = 10 * (energy / energy[:, :1]).log10()
        for curve in level:
            five, more = int((curve > -5).sum()), int((curve > -25).sum())
            assert 0.36 < 3 * (more - five) / RATE < 0.55

    def test_delays(self):
        k = SyntheticRooms(RATE, max_delay=0.1, max_t60=0.4)(20, seeded())
        first = (k[:, 1:] != 0).float().argmax(1) + 1
        assert first.min() < 400 < 1000 < first.max() <= 1600

    def test_refusals(self):
        for options in ({"min_t60": 0.0}, {"min_t60": 2.0}, {"max_delay": 3.0}, {"max_direct_db": np.nan}):
            with pytest.raises(OptionError, match="expected"):
                SyntheticRooms(RATE, **options)


class TestLevels:
    def test_gain(self, rng):
        x = batch(rng, 50, 2, 30)
        y = RandomGain(-12, -3)(x, seeded())
        gains = (y / x).double()
        assert (gains.std((1, 2)) < 1e-6).all()
        levels = 20 * gains.mean((1, 2)).log10()
        assert -12 <= levels.min() < -11
        assert -4 < levels.max() <= -3

    @pytest.mark.parametrize("scale", [1e-4, 1.0, 300.0])
    def test_noise(self, rng, scale):
        x = scale * batch(rng, 40, 2, 500)
        y = RandomNoise(5, 15)(x, seeded())
        noise = (y.double() - x.double()).numpy()
        ratio = 10 * np.log10((x.numpy() ** 2).sum((1, 2)) / (noise**2).sum((1, 2)))
        assert 5 - 1e-3 <= ratio.min() < 6.5
        assert 13.5 < ratio.max() <= 15 + 1e-3
        # White: neighbours do not resemble each other.
        assert abs(np.sum(noise[..., 1:] * noise[..., :-1]) / np.sum(noise**2)) < 0.03

    def test_silence_stays(self):
        assert torch.equal(RandomNoise(0, 0)(torch.zeros(2, 1, 9), seeded()), torch.zeros(2, 1, 9))

    def test_half_precision_does_not_overflow(self, rng):
        x = (1000 * batch(rng, 2, 1, 4000)).half()
        y = RandomNoise(20, 20)(x, seeded())
        assert y.dtype == torch.float16
        assert snr(y.double(), x.double()) == pytest.approx(20, abs=0.1)

    def test_refusals(self):
        for kind in (RandomGain, RandomNoise):
            with pytest.raises(OptionError, match="the lower one first"):
                kind(6, -6)


class TestRandomTimeShift:
    def test_against_a_loop(self, rng):
        x = batch(rng, 60, 2, 25)
        y = RandomTimeShift(0.01, 1000)(x, seeded())
        found = set()
        for item, moved in zip(x, y, strict=True):
            fits = []
            for shift in range(-10, 11):
                expected = torch.zeros_like(item)
                for t in range(25):
                    if 0 <= t - shift < 25:
                        expected[:, t] = item[:, t - shift]
                fits.append(torch.equal(expected, moved))
            assert sum(fits) == 1
            found.add(fits.index(True) - 10)
        assert {-10, 10} & found
        assert len(found) > 12

    def test_shorter_than_the_shift(self, rng):
        x = batch(rng, 30, 1, 3)
        y = RandomTimeShift(1, 1000)(x, seeded())
        assert not torch.equal(y, x)
        assert RandomTimeShift(1, 1000)(x[..., :0]).shape == (30, 1, 0)

    def test_refusals(self):
        with pytest.raises(OptionError, match="max_shift -1"):
            RandomTimeShift(-1, RATE)


def augmentation():
    return Compose(
        [
            RandomImpulseResponse(SyntheticRooms(1000, max_t60=0.3), p=0.5),
            RandomNoise(10, 30, p=0.7),
            RandomGain(-6, 6),
            RandomTimeShift(0.02, 1000),
        ]
    )


class TestRandomness:
    def test_a_seed_repeats_it(self, rng):
        x, augment = batch(rng, 6, 1, 200), augmentation()
        assert torch.equal(augment(x, seeded(3)), augment(x, seeded(3)))
        assert not torch.equal(augment(x, seeded(3)), augment(x, seeded(4)))
        torch.manual_seed(1)
        first = augment(x)
        torch.manual_seed(1)
        assert torch.equal(augment(x), first)

    def test_an_item_with_its_own_generator_is_the_same_in_any_batch(self, rng):
        x, augment = batch(rng, 6, 1, 200), augmentation()
        whole = augment(x, each_seeded(6))
        parts = torch.cat([augment(x[:2], each_seeded(2)), augment(x[2:], each_seeded(4, first=102))])
        assert snr(parts, whole) > EXACT  # transforms of other batches round differently
        with pytest.raises(ValueError, match="one for each of the 6 items"):
            augment(x, each_seeded(5))

    @pytest.mark.parametrize("p", [0.0, 1.0])
    def test_a_batch_of_none(self, p):
        """Of the shape that others have, and nothing is drawn from torch's own generator."""
        bank = RandomImpulseResponse([torch.ones(3)], p=p, leave_length_unchanged=False)
        augment, state = Compose([bank, RandomNoise(p=p), RandomGain(p=p), RandomTimeShift(1, 9, p=p)]), seeded()
        for generator in (state, [], None):
            before = torch.random.get_rng_state()
            assert augment(torch.zeros(0, 2, 10), generator).shape == (0, 2, 12)
            assert torch.equal(torch.random.get_rng_state(), before)

    def test_gradients_pass(self, rng):
        x = batch(rng, 6, 1, 200).requires_grad_()
        augmentation()(x, seeded()).square().sum().backward()
        assert (x.grad.abs().sum((1, 2)) > 0).all()

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
    def test_on_a_gpu(self, rng):
        x, augment = batch(rng, 6, 1, 2000).cuda(), augmentation()
        y = augment(x, each_seeded(6))
        assert y.device == x.device
        assert torch.equal(y, augment(x, each_seeded(6)))
        filters = RandomImpulseResponse([batch(rng, 300)], p=1.0)
        expected = filters(x.cpu())
        assert snr(filters(x).cpu(), expected) > 100  # wherever the filters are
        assert snr(filters.to("cuda")(x).cpu(), expected) > 100
