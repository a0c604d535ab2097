"""Networks whose output is features, not logits of classes."""

import pytest
import torch
from metamery.analysis import judge, null_distribution, recognise, synthesise
from metamery.framework import ImageDomain, MetameryError, Model
from metamery.framework.contract import examine, require_classes, require_logits
from metamery.framework.testing import check_model, example_stimuli
from torch import nn


def encoder():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    return Model(network, ImageDomain(3, 8, 8), ["1", "output"], encoder=True)


def test_features_are_not_taken_for_classes():
    model = encoder()
    check_model(model)
    assert examine(model).classes is None
    for check in (require_classes, require_logits):
        with pytest.raises(MetameryError, match=r"model 'one' returns features, not logits of classes, .* num_classes"):
            check("one", model)
    assert "returns features, not classes: success is the match alone" in model.attributes()["notes"]


def test_success_is_the_match_alone():
    model = encoder()
    stimuli = example_stimuli(model, 5)
    metamers = synthesise(model, stimuli, ["1"], steps=40, seed=1)
    assert (metamers["agrees"] == -1).all()
    assert (metamers["predicted"] == -1).all()
    verdicts = judge(metamers, null_distribution(model, stimuli, ["1"]))
    assert (verdicts["matches"] >= 0).all()
    assert verdicts["success"].equals(verdicts["matches"])


def test_it_recognises_nothing():
    model = encoder()
    metamers = synthesise(model, example_stimuli(model), ["1"], steps=2)
    with pytest.raises(MetameryError, match="returns features, not logits of classes"):
        recognise({"one": model}, {"one": metamers})


def test_an_encoder_has_no_labels():
    with pytest.raises(MetameryError, match="returns features, not classes, has labels: expected none"):
        Model(nn.Flatten(), ImageDomain(1, 2, 2), ["output"], labels=["a", "b"], encoder=True)
