"""The peers of `longconv apply` that are Python libraries, each as the short program its users write.

python file_peers.py NAME INPUT IR OUTPUT
"""

import sys


def scipy_oaconvolve(source: str, ir: str, target: str) -> None:
    import scipy.signal
    import soundfile

    x, rate = soundfile.read(source, dtype="float32", always_2d=True)
    h, _ = soundfile.read(ir, dtype="float32", always_2d=True)
    soundfile.write(target, scipy.signal.oaconvolve(x, h, axes=0), rate, subtype="FLOAT")


def pedalboard_convolution(source: str, ir: str, target: str) -> None:
    from pedalboard import Convolution
    from pedalboard.io import AudioFile

    with AudioFile(source) as reader:
        convolution = Convolution(ir, mix=1.0)
        with AudioFile(target, "w", reader.samplerate, reader.num_channels, bit_depth=32) as writer:
            while reader.tell() < reader.frames:
                writer.write(convolution(reader.read(1 << 20), reader.samplerate, reset=False))


def torchaudio_fftconvolve(source: str, ir: str, target: str) -> None:
    import soundfile
    import torch
    import torchaudio

    x, rate = soundfile.read(source, dtype="float32", always_2d=True)
    h, _ = soundfile.read(ir, dtype="float32", always_2d=True)
    y = torchaudio.functional.fftconvolve(torch.from_numpy(x.T), torch.from_numpy(h.T))
    soundfile.write(target, y.numpy().T, rate, subtype="FLOAT")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
