"""Models of raw waveforms, made of the layers of `longconv_audio.nn`."""
