"""scikit-image's photographs."""

import pytest
import torch
from metamery.framework import MetameryError, Plugins

pytest.importorskip("skimage", reason="scikit-image is not installed (metamery[demo])")


@pytest.fixture
def natural():
    return Plugins(installed=()).load("stimuli", "natural")


def test_every_photograph_is_there_and_in_range(natural):
    stimuli = list(natural)
    assert len(stimuli) == len(natural) >= 6
    assert len({s.name for s in stimuli}) == len(stimuli)
    for stimulus in stimuli:
        channels, height, width = stimulus.signal.shape
        assert channels in (1, 3)
        assert min(height, width) > 100
        assert 0 <= stimulus.signal.min() < stimulus.signal.max() <= 1
        assert stimulus.category
        assert stimulus.source.startswith("skimage.data.")
        assert stimulus.licence


def test_right_answers_are_imagenet_classes(natural):
    from metamery.plugins.vision.imagenet import imagenet_labels

    labelled = [s for s in natural if s.labels]
    assert [s.name for s in natural][:6] == ["chelsea", "coffee", "camera", "rocket", "motorcycle", "astronaut"]
    for stimulus in labelled:
        assert stimulus.right_answers("imagenet-1k") <= set(imagenet_labels())
    assert natural[0].right_answers("imagenet-16") == {"cat"}


def test_the_astronaut_has_no_right_answer_rather_than_a_wrong_one(natural):
    assert next(s for s in natural if s.name == "astronaut").right_answers("imagenet-1k") is None


def test_pixels_are_scikit_images_own(natural):
    from skimage import data

    for stimulus, picture in ((natural[0], data.chelsea()), (natural[1], data.coffee())):
        assert torch.equal((stimulus.signal * 255).round().byte().permute(1, 2, 0), torch.from_numpy(picture))


def test_limit_and_indices(natural):
    few = Plugins(installed=()).load("stimuli", "natural", limit=2)
    assert [s.name for s in few] == ["chelsea", "coffee"]
    assert few[-1].name == "coffee"
    with pytest.raises(IndexError):
        few[2]
    with pytest.raises(MetameryError, match="limit is -1"):
        Plugins(installed=()).load("stimuli", "natural", limit=-1)
