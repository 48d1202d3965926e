"""Saved models: there and back, and what is wrong with a folder."""

import json
import os

import pytest
import torch

from longconv_audio.errors import MismatchError, UnreadableError, UnwritableError
from longconv_audio.nn.models import (
    Classifier,
    ClassifierConfig,
    FilterEstimator,
    FilterEstimatorConfig,
    WaveformModel,
    WaveformModelConfig,
    from_pretrained,
)
from longconv_audio.nn.models.configuration import LAYERS

pytestmark = pytest.mark.usefixtures("one_thread")

X = torch.linspace(-1, 1, 90).sin().expand(2, 1, -1)
CODES = torch.arange(90).expand(2, -1)


def classifier(**options):
    fields = {"channels": 4, "layers": 2, "kernel_size": 20, "pooling": (2,)} | options
    return Classifier(ClassifierConfig(("a", "b"), 400, **fields))


def models():
    made = {f"classifier-{layer}": (classifier(layer=layer), X) for layer in LAYERS}
    small = WaveformModelConfig(400, channels=4, layers=1, kernel_size=20, pooling=(2,))
    return made | {
        "waveform": (WaveformModel(small), CODES),
        "estimator": (FilterEstimator(FilterEstimatorConfig(400, 30, 2)), X),
    }


@pytest.mark.parametrize("name", models())
def test_there_and_back(name, tmp_path):
    torch.manual_seed(0)
    model, x = models()[name]
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(tmp_path / "new" / "folder")
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == ["config.json", "model.safetensors"]
    for loaded in (from_pretrained(tmp_path / "new" / "folder"), type(model).from_pretrained(tmp_path / "new/folder")):
        assert type(loaded) is type(model)
        assert loaded.config == model.config
        assert not loaded.training
        assert torch.equal(loaded(x), model.eval()(x))
        assert loaded(x).abs().max() > 0


def test_saving_again_replaces(tmp_path):
    first, second = classifier(), classifier(channels=6)
    first.save_pretrained(tmp_path)
    second.save_pretrained(tmp_path)
    assert torch.equal(from_pretrained(tmp_path).eval()(X), second.eval()(X))
    assert len(os.listdir(tmp_path)) == 2


@pytest.mark.parametrize("layer", ["depthwise", "hyena"])
def test_masks_there_and_back(layer, tmp_path):
    model = classifier(layer=layer).eval()
    model.stages[1].layer.sparsify_(keep=0.25, length=64)
    model.save_pretrained(tmp_path)
    loaded = from_pretrained(tmp_path)
    assert torch.equal(loaded.stages[1].layer.mask.bins, model.stages[1].layer.mask.bins)
    assert loaded.stages[2].layer.mask is None
    assert torch.equal(loaded(X), model(X))


@pytest.mark.parametrize("failing", [1, 2])
def test_a_full_disk_leaves_the_old_one(tmp_path, monkeypatch, failing):
    old = classifier()
    old.save_pretrained(tmp_path)
    calls, sync = [], os.fsync

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnwritableError, match="No space left on device"):
        classifier(channels=6).save_pretrained(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["config.json", "model.safetensors"]
    assert torch.equal(from_pretrained(tmp_path)(X), old.eval()(X))


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableError, match="file: the model cannot be written"):
        classifier().save_pretrained(tmp_path / "file")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_files(tmp_path, name):
    classifier().save_pretrained(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UnreadableError, match=f"{name}: cannot be read"):
        from_pretrained(tmp_path)
    with pytest.raises(UnreadableError, match="cannot be read"):
        from_pretrained(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "is not JSON"),
        ("[]", "names no model"),
        ("{}", "names no model"),
        ('{"model": []}', "names no model"),
        ("\xff", "not JSON"),
    ],
)
def test_damaged_configurations(tmp_path, text, named):
    classifier().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(UnreadableError, match=named):
        from_pretrained(tmp_path)


@pytest.mark.parametrize("left", [0, 4, 100, -1])
def test_damaged_tensors(tmp_path, left):
    classifier().save_pretrained(tmp_path)
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[:left])
    with pytest.raises(UnreadableError, match="is damaged"):
        from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model": "Transformer"}, "model is 'Transformer'; expected Classifier"),
        ({"model": "WaveformModel"}, "classes is no field of WaveformModelConfig; expected sample_rate"),
        ({"heads": 8}, "heads is no field of ClassifierConfig; expected classes"),
        ({"sample_rate": None}, "sample_rate is None; expected"),
        ({"pooling": 3}, "config.json: pooling is 3; expected a tuple"),
        ({"classes": ["a", "b", "c"]}, r"head.bias \(2,\) where the configuration has \(3,\), head.weight"),
        ({"layers": 3}, r"is without stages\.[^:]* and \d+ more: tensors and configuration"),
        ({"layers": 1}, r"has besides stages\..*more: tensors and configuration"),
    ],
)
def test_configurations_that_do_not_fit(tmp_path, changes, named):
    classifier().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(MismatchError, match=named):
        from_pretrained(tmp_path)


def test_another_model(tmp_path):
    classifier().save_pretrained(tmp_path)
    with pytest.raises(MismatchError, match="model is 'Classifier'; expected 'WaveformModel'"):
        WaveformModel.from_pretrained(tmp_path)


def test_a_field_that_is_missing(tmp_path):
    classifier().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model": "Classifier", "sample_rate": 400}')
    with pytest.raises(MismatchError, match="classes"):
        from_pretrained(tmp_path)
