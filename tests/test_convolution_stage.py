"""The convolution between a file's blocks and those of the output."""

import numpy as np
import pytest

from longconv_audio.backends import CpuBackend
from longconv_audio.convolution_stage import convolved
from longconv_audio.routing import FilterMatrix, Path
from tests.measures import snr


class Opened:
    """Streams as they are opened and closed."""

    def __init__(self, matrix):
        backend = CpuBackend(np.dtype(np.float64))
        self._open = lambda: backend.host_stream(matrix, backend.plan(matrix, "offline", 64))
        self.stream, self.closed = None, 0

    def __call__(self):
        self.stream = self._open()
        close = self.stream.close

        def closing():
            self.closed += 1
            close()

        self.stream.close = closing
        return self.stream


@pytest.fixture
def matrix(rng):
    return FilterMatrix(1, 2, (Path(1, 0, rng.standard_normal(150)),), origin=20)


@pytest.mark.parametrize("more", [0, 128, 129, 130, 1000])
@pytest.mark.parametrize("in_flight", [1, 2, 30])
def test_it_is_as_long_as_was_asked(rng, matrix, more, in_flight):
    x = rng.standard_normal((1, 1000))
    opened = Opened(matrix)

    def open_stream():
        stream = opened()
        stream.in_flight = in_flight
        return stream

    blocks = convolved(open_stream, np.split(x, [0, 10, 300, 301], axis=1), matrix, lambda frames: frames + more)
    y = np.concatenate(list(blocks), axis=1)
    expected = np.zeros((2, 1000 + more))
    response = np.convolve(x[0], matrix.paths[0].taps)[20:]
    expected[1, : len(response)] = response[: 1000 + more]
    assert snr(y, expected) > 280
    assert opened.closed == 1


def test_of_nothing_comes_nothing(matrix):
    assert list(convolved(Opened(matrix), [], matrix, lambda frames: frames)) == []


def test_the_stream_is_closed_where_reading_fails(rng, matrix):
    def blocks():
        yield rng.standard_normal((1, 500))
        raise OSError("gone")

    opened = Opened(matrix)
    with pytest.raises(OSError, match="gone"):
        list(convolved(opened, blocks(), matrix, lambda frames: frames))
    assert opened.closed == 1
