"""`python -m longconv_audio.cli` is `longconv`."""

from . import main

main()
