"""Impulse responses written are impulse responses read."""

import re

import numpy as np
import pytest

from longconv_audio import read_ir, write_ir
from longconv_audio.errors import NonFiniteError, OptionError, UnreadableError, UnwritableError


@pytest.mark.parametrize(("name", "least"), [("h.npy", 0), ("h.txt", 0), ("h.wav", 1e-7), ("h.flac", 1e-6)])
@pytest.mark.parametrize("shape", [(7,), (3, 50), (1, 1)])
def test_round_trip(name, least, shape, tmp_path, rng):
    h = rng.uniform(-1, 1, shape)
    assert write_ir(str(tmp_path / name), h, 44_100) == str(tmp_path / name)
    found = read_ir(tmp_path / name)
    assert found.taps.shape == np.atleast_2d(h).shape
    assert np.abs(found.taps - h).max() <= least
    assert found.native_samplerate == (None if least == 0 else 44_100)


def test_what_is_refused(tmp_path):
    with pytest.raises(NonFiniteError, match="not finite"):
        write_ir(tmp_path / "h.wav", np.array([1.0, np.nan]), 48_000)
    with pytest.raises(OptionError, match="PCM_24 cannot hold a tap of 3"):
        write_ir(tmp_path / "h.wav", np.array([3.0]), 48_000, subtype="PCM_24")
    for level in (1e39, 1e-50):  # infinity and silence in single precision
        with pytest.raises(OptionError, match=re.escape(f"the largest tap is {level:.4g}: write DOUBLE")):
            write_ir(tmp_path / "h.wav", np.array([level, 0.0]), 48_000)
    with pytest.raises(OptionError, match="no format or subtype"):
        write_ir(tmp_path / "h.txt", np.array([3.0]), 48_000, subtype="PCM_24")
    with pytest.raises(UnwritableError, match="does not exist"):
        write_ir(tmp_path / "no" / "h.npy", np.ones(3), 48_000)
    assert not list(tmp_path.iterdir())
    for level in (1e39, 1e-50):
        write_ir(tmp_path / "d.wav", np.array([level, 0.0]), 48_000, subtype="DOUBLE", overwrite=True)
        assert read_ir(tmp_path / "d.wav").taps[0, 0] == level
    write_ir(tmp_path / "h.npy", np.ones(3), 48_000)
    with pytest.raises(UnwritableError, match="exists"):
        write_ir(tmp_path / "h.npy", np.ones(4), 48_000)
    write_ir(tmp_path / "h.npy", np.ones(4), 48_000, overwrite=True)
    assert read_ir(tmp_path / "h.npy").taps.shape == (1, 4)


@pytest.mark.parametrize("text", ["1 2\n3\n", "one\n", "", "1," * 2000 + "1\n"])
def test_text_that_is_no_filter(text, tmp_path):
    (tmp_path / "h.txt").write_text(text)
    with pytest.raises(UnreadableError, match=r"h\.txt"):
        read_ir(tmp_path / "h.txt")
