"""`longconv ir from-sofa`: the pair of a direction as a file."""

import json

import numpy as np
import pytest
from longconv_audio.cli.from_sofa import from_sofa

from longconv_audio.errors import OptionError
from tests.cli.running import read
from tests.filters.sofa_files import write_sphere


@pytest.fixture
def ears(tmp_path):
    pytest.importorskip("h5py")
    return str(tmp_path / "ears.sofa"), *write_sphere(tmp_path / "ears.sofa")


def test_the_nearest_is_said(tmp_path, ears, capsys):
    file, places, irs = ears
    from_sofa(file, str(tmp_path / "near.npy"), azimuth=88)
    (index,) = np.nonzero((places[:, 0] == 90) & (places[:, 1] == 0))[0]
    assert np.array_equal(np.load(tmp_path / "near.npy"), irs[index])
    lines = capsys.readouterr().err
    assert "the nearest of 266: azimuth 90.0, elevation 0.0, 1.5 m away, 2.0 degrees from" in lines
    assert "the left ear hears it 0.6" in lines


def test_interpolated_and_at_another_rate(tmp_path, ears, capsys):
    file, places, irs = ears
    from_sofa(file, str(tmp_path / "a.wav"), azimuth=37, elevation=8, interpolate=True, json=True)
    report = json.loads(capsys.readouterr().out)
    assert (report["channels"], report["directions"], report["samplerate"]) == (2, 3, 48_000)
    from_sofa(file, str(tmp_path / "b.wav"), azimuth=90, rate=96_000, quiet=True)
    (index,) = np.nonzero((places[:, 0] == 90) & (places[:, 1] == 0))[0]
    assert read(tmp_path / "b.wav").sum(axis=1) == pytest.approx(irs[index].sum(axis=1), rel=1e-5)
    assert capsys.readouterr().err == ""


def test_what_is_not_said_or_makes_no_sense(tmp_path, ears):
    for words, given in {
        "no output": {"output": ""},
        "--rate 0": {"rate": 0},
        "--azimuth 999": {"azimuth": 999},
    }.items():
        with pytest.raises(OptionError, match=words):
            from_sofa(**({"file": ears[0], "output": str(tmp_path / "x.wav")} | given))
