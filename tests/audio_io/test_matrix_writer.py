"""Matrices of filters: what was written is read again."""

import numpy as np
import pytest

from longconv_audio.audio_io import read_ir, write_matrix
from longconv_audio.audio_io.matrix import read_matrix
from longconv_audio.errors import OptionError, UnwritableError
from longconv_audio.routing import FilterMatrix, Path, dense, from_array


def test_a_matrix_file_and_its_wav(tmp_path, rng):
    shared, own = rng.standard_normal(50).astype(np.float32), rng.standard_normal(30).astype(np.float32)
    shared = shared.astype(float)
    paths = (Path(0, 0, shared), Path(1, 2, shared), Path(1, 0, own.astype(float)))
    matrix = FilterMatrix(4, 2, paths)
    target = str(tmp_path / 'od"d name.toml')
    assert write_matrix(target, matrix, 44_100) == [target, str(tmp_path / 'od"d name.wav')]
    found = read_matrix(target, samplerate=44_100)
    assert np.array_equal(dense(found), dense(matrix))
    assert len(read_ir(tmp_path / 'od"d name.wav').taps) == 2  # a channel for each filter
    with pytest.raises(UnwritableError, match="exists"):
        write_matrix(target, matrix, 44_100)
    (tmp_path / 'od"d name.toml').unlink()
    with pytest.raises(UnwritableError, match="exists"):
        write_matrix(target, matrix, 44_100)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['od"d name.wav']
    write_matrix(target, matrix, 44_100, overwrite=True)


def test_two_by_two_is_true_stereo(tmp_path, rng):
    h = rng.standard_normal((2, 2, 20))  # (output, input, taps)
    write_matrix(str(tmp_path / "x.npy"), from_array(h), 48_000)
    taps = np.load(tmp_path / "x.npy")
    assert np.array_equal(taps, [h[0, 0], h[1, 0], h[0, 1], h[1, 1]])
    with pytest.raises(OptionError, match=r"NAME\.toml"):
        write_matrix(str(tmp_path / "y.wav"), from_array(rng.standard_normal((2, 3, 5))), 48_000)
