"""The public names of the package."""

import importlib
import pkgutil

from longconv_audio import filters


def test_each_name_stays_what_it_is_once_the_modules_are_loaded():
    # A module of the same name would take its place as soon as something imports it.
    assert not {module.name for module in pkgutil.iter_modules(filters.__path__)} & set(filters.__all__)
    for name in filters.__all__:
        home = getattr(filters, name).__module__
        assert home.startswith("longconv_audio.filters.")
        assert getattr(filters, name) is getattr(importlib.import_module(home), name)
