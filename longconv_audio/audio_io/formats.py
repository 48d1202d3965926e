"""Which file format a name asks for, and which sample encoding fits in it."""

from __future__ import annotations

import os

from longconv_audio.errors import OptionError

# Formats whose header and samples are written here, without libsndfile.
WAV_FORMATS = ("WAV", "WAVEX", "RF64")
WAV_SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")

_SUFFIXES = {
    ".wav": "WAV",
    ".wave": "WAV",
    ".bwf": "WAV",
    ".rf64": "RF64",
    ".bw64": "RF64",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".oga": "OGG",
    ".opus": "OPUS",
    ".mp3": "MP3",
    ".aif": "AIFF",
    ".aiff": "AIFF",
    ".aifc": "AIFF",
    ".caf": "CAF",
    ".w64": "W64",
    ".au": "AU",
    ".snd": "AU",
    ".voc": "VOC",
    ".mat": "MAT5",
}
# What a lossy format is written as; OPUS is OGG by another name.
_CODECS = {"OGG": "VORBIS", "OPUS": "OPUS", "MP3": "MPEG_LAYER_III"}
# Significant bits of the encodings that lose nothing, and of those that decode to no more.
_BITS = {
    "PCM_S8": 8,
    "PCM_U8": 8,
    "PCM_16": 16,
    "PCM_24": 24,
    "PCM_32": 32,
    "ALAC_16": 16,
    "ALAC_20": 20,
    "ALAC_24": 24,
    "ALAC_32": 32,
    "DWVW_12": 12,
    "DWVW_16": 16,
    "DWVW_24": 24,
}
# Companded 8-bit samples: kept where the format has them, as telephony expects; 16 bits hold what they decode to.
_COMPANDED = ("ULAW", "ALAW")


def choose_subtype(format: str, wanted: str, source: str) -> tuple[str, str]:
    """The sample encoding of an output.

    "keep" gives the input's own encoding where the format has it, else the nearest that loses nothing, else the
    one that loses least. What a lossy codec decoded to has no bit depth of its own and goes to FLOAT, or to 24 bits.

    Args:
        format: of the output, as soundfile names it ("WAV", "FLAC", ...), or "OPUS".
        wanted: "keep" or a subtype ("PCM_24", ...).
        source: the input's subtype.

    Returns:
        The subtype, and why it differs from the input's (empty where it does not, or where it was asked for).

    Raises:
        OptionError: the format is unknown, or does not have the wanted subtype.
    """
    format = format.upper()
    if wanted.lower() != "keep":
        wanted = wanted.upper()
        if format in WAV_FORMATS and wanted in WAV_SUBTYPES:
            return wanted, ""
        names = subtypes_of(format)
        if wanted not in names:
            raise OptionError(f"{format} cannot hold {wanted}: pass one of {', '.join(names)}")
        return wanted, ""
    source = source.upper()
    if format in WAV_FORMATS and source in WAV_SUBTYPES:
        return source, ""
    names = subtypes_of(format)
    if format in _CODECS:
        codec = _CODECS[format]
        if format == "OGG" and source == "OPUS":
            codec = "OPUS"
        return codec, "" if codec in (source, format) else f"{format} is written as {codec}"
    if source in names and (source in _BITS or source in (*_COMPANDED, "FLOAT", "DOUBLE")):
        return source, ""
    chosen = _nearest(source, names)
    if source in _BITS or source in ("FLOAT", "DOUBLE"):
        return chosen, f"{format} cannot hold {source}; {chosen} is the nearest that it can"
    return chosen, f"{source} decodes to samples that {chosen} keeps"


def subtypes_of(format: str) -> list[str]:
    """The encodings that a format can hold. Raises OptionError for an unknown format."""
    format = format.upper()
    if format == "RAW":
        return ["PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"]
    if format in _CODECS:
        return ["VORBIS", "OPUS"] if format == "OGG" else [_CODECS[format]]
    import soundfile

    try:
        names = list(soundfile.available_subtypes(format))
    except ValueError:
        names = []
    if not names:
        raise OptionError(f"output format {format!r} is unknown: pass WAV, RF64, FLAC, OGG, OPUS, MP3, AIFF or CAF")
    # An MP3 stream inside a WAV is a curiosity that few programs open. libsndfile 1.2.2 writes ALAC of more than
    # 16 bits from loud noise such that it reads back as something else.
    return [name for name in names if not name.startswith("MPEG") and name not in ("ALAC_20", "ALAC_24", "ALAC_32")]


def format_of(target) -> str:
    """The format that a path's suffix asks for; WAV for standard output and file objects.

    Raises:
        OptionError: the suffix says nothing, or names a format that is not written here.
    """
    if target == "-" or not isinstance(target, (str, os.PathLike)):
        return "WAV"
    path = os.fspath(target)
    suffix = os.path.splitext(path)[1].lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if suffix in (".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka"):
        raise OptionError(f"{path}: {suffix} is not written here: write a .wav and convert it with ffmpeg")
    if suffix in (".raw", ".pcm"):
        raise OptionError(f"{path}: headerless output needs its sample format: pass --raw-format, such as f32le")
    # A device or a named pipe has no suffix, and takes what standard output would.
    if os.path.exists(path) and not os.path.isfile(path):
        return "WAV"
    known = " ".join(_SUFFIXES)
    raise OptionError(
        f"{path}: the suffix {suffix!r} does not say the format: expected one of {known}, "
        "or pass --format to a command that has it"
    )


def _nearest(source: str, names: list[str]) -> str:
    """The encoding among `names` that keeps most of `source`, and no larger than it must be."""
    holds = {name: _BITS[name] for name in ("PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32") if name in names}
    if source in _BITS or source in _COMPANDED:
        enough = [name for name in holds if holds[name] >= _BITS.get(source, 16)]
        if enough:
            return min(enough, key=holds.get)
        ladder = ["DOUBLE", "FLOAT"]
    else:
        # FLOAT holds beyond full scale and 24 bits; integers hold 24 or 32 bits and stop at full scale.
        ladder = ["DOUBLE", "FLOAT", "PCM_32"] if source in ("DOUBLE", "PCM_32") else ["FLOAT", "DOUBLE", "PCM_24"]
    for name in ladder:
        if name in names:
            return name
    return max(holds, key=holds.get) if holds else names[0]
