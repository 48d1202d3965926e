"""Models: their streams, what they may look at, and what their configurations refuse."""

import dataclasses

import pytest
import torch

from longconv_audio import long_conv
from longconv_audio.nn import streaming
from longconv_audio.nn.models import (
    Classifier,
    ClassifierConfig,
    FilterEstimator,
    FilterEstimatorConfig,
    WaveformModel,
    WaveformModelConfig,
    mu_law_decode,
    mu_law_encode,
)
from longconv_audio.nn.models.configuration import LAYERS
from tests.nn.streams import difference, splits, streamed

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def classifier(**options):
    fields = {"channels": 6, "layers": 3, "kernel_size": 30, "pooling": (2, 3)} | options
    return Classifier(ClassifierConfig(("a", "b", "c"), 400, **fields)).double().eval()


def waveform_model(**options):
    fields = {"channels": 4, "layers": 1, "layer": "depthwise", "kernel_size": 30, "pooling": (2, 3)} | options
    return WaveformModel(WaveformModelConfig(400, **fields)).double().eval()


@pytest.mark.parametrize("layer", LAYERS)
def test_classifier_streams_to_what_it_says_of_the_prefix(layer):
    model = classifier(layer=layer)
    x = torch.randn(2, 1, 150, dtype=torch.float64)
    state, heard = model.init_state(2), 0
    for n in [1, 1, 4, 0, *splits(144, torch.Generator().manual_seed(1))]:
        logits, state = model.stream(x[..., heard : heard + n], state)
        heard += n
        assert difference(logits, model(x[..., :heard]).detach()) < 1e-10
    assert heard == 150
    logits = model.stream(x[..., 100:], model.prefill(x[..., :100]))[0]
    assert difference(logits, model(x).detach()) < 1e-10


def test_classifier_at_the_full_rate():
    model = classifier(pooling=())
    x = torch.randn(2, 1, 40, dtype=torch.float64)
    assert difference(model.stream(x, model.init_state(2))[0], model(x).detach()) < 1e-12


def test_classifier_hears_all_of_a_waveform():
    x = torch.randn(2, 1, 96, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(classifier()(x)[:, 0].sum(), x)
    assert (slope != 0).all()


def test_classifier_hears_waveforms_shorter_than_a_group():
    model = classifier()
    assert torch.isfinite(model(torch.randn(2, 1, 3, dtype=torch.float64))).all()
    assert model(torch.zeros(2, 1, 0, dtype=torch.float64)).shape == (2, 3)


def test_bidirectional_classifier_cannot_stream():
    model = classifier(bidirectional=True)
    assert model(torch.randn(2, 1, 100, dtype=torch.float64)).shape == (2, 3)
    with pytest.raises(ValueError, match="Bidirectional"):
        model.init_state(1)


def test_classifier_compiles_in_one_graph():
    model = classifier(layers=2, dropout=0.0).float()
    x = torch.randn(2, 1, 64)
    expected = model(x)
    expected.square().sum().backward()
    wanted = [p.grad for p in model.parameters()]
    model.zero_grad()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    compiled(x).square().sum().backward()
    for found, right in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(found.grad, right, rtol=1e-3, atol=1e-3 * float(right.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_classifier_in_half_precision(dtype):
    model, x = classifier().float(), torch.randn(2, 1, 96)
    expected = model(x).detach()
    half = model.to(dtype)
    assert half(x.to(dtype)).dtype == dtype
    assert difference(half(x.to(dtype)).detach().float(), expected) < 0.1
    assert difference(half.stream(x.to(dtype), half.init_state(2))[0].float(), expected) < 0.1


@pytest.mark.parametrize("shape", [(2, 50), (1, 2, 50), (50,)])
def test_other_shapes_are_named(shape):
    with pytest.raises(ValueError, match=r"x has shape \(.*\); expected \(batch, 1, samples\)"):
        classifier()(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"codes has shape \(1, 1, 5\); expected \(batch, samples\)"):
        waveform_model()(torch.zeros(1, 1, 5, dtype=torch.int64))


def test_training_steps_lower_the_loss():
    model = classifier(dropout=0.1).float().train()
    x, labels = torch.randn(6, 1, 120), torch.tensor([0, 1, 2, 0, 1, 2])
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(45):
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("layer", LAYERS)
def test_waveform_model_streams(layer):
    model = waveform_model(layer=layer)
    codes = torch.randint(256, (2, 110))
    assert difference(streamed(model, codes), model(codes).detach()) < 1e-10


def test_waveform_model_goes_on_after_a_prefill():
    model = waveform_model()
    codes = torch.randint(256, (2, 110))
    assert difference(streamed(model, codes, prefill=47), model(codes)[..., 47:].detach()) < 1e-10


def test_logits_depend_on_earlier_codes_alone():
    model = waveform_model()
    codes = torch.randint(256, (1, 60))
    logits = model(codes)
    for place in (0, 1, 29, 59):
        others = codes.clone()
        others[:, place:] = torch.randint(256, (1, 60 - place))
        changed = model(others)
        torch.testing.assert_close(changed[..., : place + 1], logits[..., : place + 1], rtol=1e-10, atol=1e-10)
        if place < 59:
            assert (changed[..., place + 1] - logits[..., place + 1]).abs().max() > 1e-3


def test_waveform_model_of_no_samples():
    assert waveform_model()(torch.zeros(2, 0, dtype=torch.int64)).shape == (2, 256, 0)


def test_generation_follows_the_logits():
    """Without a temperature each code is the likeliest after those before, as the whole model has it."""
    model = waveform_model()
    prompt = torch.rand(2, 25) - 0.5
    made = mu_law_encode(model.generate(30, batch=2, prompt=prompt, temperature=0))
    codes = torch.cat([mu_law_encode(prompt), made], -1)
    assert torch.equal(model(codes).argmax(1)[:, 25:], made)
    assert len(made.unique()) > 1


def test_generation_draws_by_the_shares():
    model = waveform_model(channels=2)
    shares = torch.softmax(model(torch.zeros(1, 1, dtype=torch.int64))[0, :, 0] / 0.7, 0).detach()
    first = model.generate(1, batch=20_000, temperature=0.7, generator=torch.Generator().manual_seed(3))
    counts = torch.bincount(mu_law_encode(first)[:, 0], minlength=256) / 20_000
    assert (counts - shares).abs().max() < 6 * float((shares.max() / 20_000) ** 0.5)


def test_generation_repeats_itself_in_blocks():
    model = waveform_model()
    whole = model.generate(20, batch=2, generator=torch.Generator().manual_seed(5))
    blocks = list(model.generate_blocks(20, 8, batch=2, generator=torch.Generator().manual_seed(5)))
    assert [block.shape[-1] for block in blocks] == [8, 8, 4]
    assert torch.equal(torch.cat(blocks, -1), whole)
    assert whole.abs().max() <= 1
    assert model.generate(0, batch=2).shape == (2, 0)


def test_generation_refuses():
    model = waveform_model()
    with pytest.raises(ValueError, match="temperature is -1"):
        model.generate(5, temperature=-1)
    with pytest.raises(ValueError, match="prompt has shape"):
        model.generate(5, batch=2, prompt=torch.zeros(3, 10))
    with pytest.raises(ValueError, match=r"prompt has shape \(1, 1, 10\)"):
        model.generate(5, prompt=torch.zeros(1, 1, 10))
    with pytest.raises(ValueError, match="samples is -1; expected at least 0"):
        model.generate(-1)
    with pytest.raises(ValueError, match="block is 0; expected at least 1"):
        model.generate_blocks(5, 0)
    with pytest.raises(ValueError, match="training"):
        model.train().generate(5)


def test_mu_law_goes_there_and_back():
    torchaudio = pytest.importorskip("torchaudio")
    codes = torch.arange(256)
    assert torch.equal(mu_law_encode(mu_law_decode(codes)), codes)
    assert torch.equal(mu_law_encode(torch.tensor([-2.0, 2.0])), torch.tensor([0, 255]))
    x = torch.linspace(-1, 1, 1001, dtype=torch.float64)
    assert torch.equal(mu_law_encode(x), torchaudio.functional.mu_law_encoding(x, 256))
    steps = (mu_law_decode(codes, torch.float64)[1:] - mu_law_decode(codes, torch.float64)[:-1]).max()
    assert (mu_law_decode(mu_law_encode(x), torch.float64) - x).abs().max() <= steps / 2 * 1.01


@pytest.mark.parametrize("channels", [1, 2])
def test_estimator_finds_a_response_through_coloured_noise(channels):
    estimator = FilterEstimator(FilterEstimatorConfig(16_000, 1000, channels))
    decay = 10 ** (-3 * torch.arange(1000) / 1000)
    room = torch.randn(channels, 1000) * decay
    white = torch.randn(2, 1, 8000, dtype=torch.float64)
    dry = long_conv(white, 0.99 ** torch.arange(500, dtype=torch.float64)[None])  # 40 dB less at the top
    wet = long_conv(dry, room.double())
    errors = estimator.fit(dry, wet, steps=40)
    assert errors[-1] < -90
    assert errors[0] > errors[10] > errors[-1]
    assert difference(estimator.impulse_response.detach(), room) < 1e-3
    assert difference(estimator(dry.float()).detach(), wet.float()) < 1e-3


def test_estimator_weighs_noise():
    """Where the dry signal is weak, what comes out is noise, and the nearest to the recording is far from the room."""
    room = torch.randn(1, 200, dtype=torch.float64) * 10 ** (-3 * torch.arange(200) / 200)
    spectrum = torch.fft.rfft(torch.randn(1, 1, 8000, dtype=torch.float64))
    spectrum[..., 2000:] *= 1e-3
    dry = torch.fft.irfft(spectrum, 8000)
    wet = long_conv(dry, room)
    wet = wet + 1e-2 * wet.std() * torch.randn_like(wet)

    def error(snr_db):
        estimator = FilterEstimator(FilterEstimatorConfig(16_000, 200))
        estimator.fit(dry, wet, steps=60, snr_db=snr_db)
        return float((estimator.impulse_response.detach() - room).norm() / room.norm())

    assert error(40.0) < 1  # half the band is unknown
    assert error(40.0) < 0.75 * error(120.0)


def test_estimator_of_silence():
    estimator = FilterEstimator(FilterEstimatorConfig(16_000, 20))
    assert estimator.fit(torch.randn(1, 1, 100), torch.zeros(1, 1, 100)) == [float("-inf")]
    assert not estimator.impulse_response.any()


def test_estimator_streams():
    estimator = FilterEstimator(FilterEstimatorConfig(16_000, 50, channels=2))
    torch.nn.init.normal_(estimator.impulse_response)
    x = torch.randn(3, 1, 120)
    assert difference(streamed(estimator, x), estimator(x).detach()) < 1e-5


@pytest.mark.parametrize(
    ("dry", "wet", "named"),
    [
        ((1, 1, 9), (1, 2, 9), "wet has shape"),
        ((1, 1, 9), (1, 1, 8), "dry has shape"),
        ((1, 2, 9), (1, 1, 9), "dry has shape"),
    ],
)
def test_estimator_refuses(dry, wet, named):
    estimator = FilterEstimator(FilterEstimatorConfig(16_000, 5))
    with pytest.raises(ValueError, match=named):
        estimator.fit(torch.ones(dry), torch.ones(wet))
    with pytest.raises(ValueError, match="all zeros"):
        estimator.fit(torch.zeros(1, 1, 9), torch.ones(1, 1, 9))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("classes", ("a",)),
        ("classes", ("a", "a")),
        ("classes", "yes"),
        ("sample_rate", 0),
        ("channels", 2.5),
        ("layers", True),
        ("layer", "lstm"),
        ("kernel_size", 0),
        ("pooling", (0,)),
        ("pooling", 4),
        ("pooling", (2, 2, 2, 2, 2)),
        ("bidirectional", 1),
        ("dropout", 1.0),
    ],
)
def test_configurations_name_what_is_wrong(field, value):
    config = ClassifierConfig(("a", "b"), 16_000)
    with pytest.raises(ValueError, match=f"^{field} is .*; expected"):
        dataclasses.replace(config, **{field: value})


def test_waveform_configuration_names_what_is_wrong():
    with pytest.raises(ValueError, match=r"^pooling is \(1,\); expected"):
        WaveformModelConfig(16_000, pooling=(1,))
    with pytest.raises(ValueError, match=r"^expand is 0; expected"):
        WaveformModelConfig(16_000, expand=0)


def test_models_in_a_streaming_model():
    model = classifier().float()
    x = torch.randn(1, 1, 100)
    running = streaming.StreamingModel(model)
    for block in x.split(30, -1):
        logits = running.process(block)
    assert difference(logits, model(x).detach()) < 1e-4
