"""Which encoding an output gets."""

import pytest

from longconv_audio.audio_io import choose_subtype
from longconv_audio.audio_io.formats import format_of
from longconv_audio.errors import OptionError


@pytest.mark.parametrize(
    ("format", "source", "expected"),
    [
        ("WAV", "PCM_16", "PCM_16"),
        ("WAV", "PCM_U8", "PCM_U8"),
        ("WAV", "PCM_S8", "PCM_U8"),
        ("WAV", "DOUBLE", "DOUBLE"),
        ("RF64", "PCM_24", "PCM_24"),
        ("WAV", "ULAW", "ULAW"),
        ("WAV", "VORBIS", "FLOAT"),
        ("WAV", "OPUS", "FLOAT"),
        ("WAV", "MPEG_LAYER_III", "FLOAT"),
        ("WAV", "IMA_ADPCM", "FLOAT"),
        ("WAV", "ALAC_16", "PCM_16"),
        ("WAV", "ALAC_20", "PCM_24"),
        ("FLAC", "PCM_16", "PCM_16"),
        ("FLAC", "PCM_U8", "PCM_S8"),
        ("FLAC", "PCM_32", "PCM_24"),
        ("FLAC", "FLOAT", "PCM_24"),
        ("FLAC", "DOUBLE", "PCM_24"),
        ("FLAC", "MPEG_LAYER_III", "PCM_24"),
        ("FLAC", "ULAW", "PCM_16"),
        ("AIFF", "FLOAT", "FLOAT"),
        ("CAF", "ALAC_16", "ALAC_16"),
        ("CAF", "ALAC_24", "PCM_24"),
        ("CAF", "PCM_U8", "PCM_S8"),
        ("OGG", "VORBIS", "VORBIS"),
        ("OGG", "OPUS", "OPUS"),
        ("OGG", "FLOAT", "VORBIS"),
        ("OPUS", "FLOAT", "OPUS"),
        ("MP3", "MPEG_LAYER_III", "MPEG_LAYER_III"),
        ("MP3", "PCM_16", "MPEG_LAYER_III"),
    ],
)
def test_keep(format, source, expected):
    subtype, reason = choose_subtype(format, "keep", source)
    assert subtype == expected
    # That OPUS is written as OPUS goes without saying.
    assert bool(reason) == (expected not in (source, format))


def test_wanted():
    assert choose_subtype("wav", "pcm_24", "FLOAT") == ("PCM_24", "")
    assert choose_subtype("FLAC", "PCM_16", "FLOAT") == ("PCM_16", "")
    assert choose_subtype("flac", "pcm_s8", "float") == ("PCM_S8", "")
    assert choose_subtype("mp3", "Mpeg_Layer_III", "pcm_16") == ("MPEG_LAYER_III", "")
    for format, wanted in (("FLAC", "FLOAT"), ("WAV", "VORBIS"), ("MP3", "PCM_16"), ("CAF", "ALAC_24")):
        with pytest.raises(OptionError, match=f"{format} cannot hold {wanted}: pass one of"):
            choose_subtype(format, wanted, "PCM_16")
    with pytest.raises(OptionError, match="'XYZ' is unknown"):
        choose_subtype("XYZ", "keep", "PCM_16")


def test_format_of(tmp_path):
    names = {"-": "WAV", "a.WAV": "WAV", "a.b.flac": "FLAC", "x.opus": "OPUS", "x.aif": "AIFF", "x.rf64": "RF64"}
    assert {name: format_of(name) for name in names} == names
    assert format_of("/dev/null") == "WAV"
    with pytest.raises(OptionError, match="pass --format"):
        format_of(tmp_path / "x")
