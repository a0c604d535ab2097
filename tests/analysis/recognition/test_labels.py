"""Answers in common words: the shipped tables, and files of the user's own."""

from pathlib import Path

import metamery.analysis.recognition
import pytest
import torch
from metamery.analysis.recognition.labels import Labels, OwnLabels, answered
from metamery.framework import ImageDomain, MetameryError, Model, Stimulus
from metamery.plugins.vision.imagenet import IMAGENET_1K, imagenet_labels
from torch import nn

TABLES = Path(metamery.analysis.recognition.__file__).parent / "label_spaces"


def model(labels, space="category"):
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, len(labels or "ab")))
    return Model(module, ImageDomain(3, 2, 2), ["output"], labels, space)


def words(tmp_path, text, name="words.toml"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return Labels.read(tmp_path / name)


def test_the_sixteen_categories_are_those_published():
    table = Labels.read(TABLES / "imagenet-16.toml")
    classes = table.classes[IMAGENET_1K]
    counts = {category: len(numbers) for category, numbers in classes.items()}
    assert len(counts) == 16
    assert sum(counts.values()) == len({number for numbers in classes.values() for number in numbers}) == 207
    names = imagenet_labels()
    assert [names[number] for number in classes["elephant"]] == ["Indian elephant", "African elephant"]
    assert [names[number] for number in classes["keyboard"]] == ["computer keyboard", "typewriter keyboard"]
    assert counts["dog"] == 109
    assert counts["bird"] == 49


def test_the_categories_of_cifar_10_leave_out_what_imagenet_lacks():
    table = Labels.read(TABLES / "cifar-10.toml")
    assert {*table.categories} == {"airplane", "automobile", "bird", "cat", "dog", "frog", "horse", "ship", "truck"}
    meant = table.answers("net", model(imagenet_labels(), IMAGENET_1K))
    assert meant[imagenet_labels().index("sorrel")] == "horse"
    assert meant[0] == ""


def test_classes_are_joined_by_name_and_by_number(tmp_path):
    table = words(tmp_path, '[letters]\nvowel = ["a", 2]\nconsonant = ["b"]\n')
    assert table.name == "words"
    assert table.answers("net", model(["a", "b", "e", "7"], "letters")) == ("vowel", "consonant", "vowel", "")
    assert table.answers("net", model(["consonant", "x"])) == ("consonant", "")


def test_the_best_ranked_class_that_means_something_is_the_answer():
    logits = torch.tensor([[9.0, 1.0, 2.0], [9.0, 3.0, 2.0]])
    assert answered(logits, ("", "cat", "dog")).tolist() == [2, 1]


def test_a_stimulus_shows_a_category_by_its_answers_its_category_or_the_table(tmp_path):
    table = words(tmp_path, '[category]\ncar = ["automobile"]\nboat = ["ship"]\n')
    net = model(["car", "boat"])
    picture = torch.zeros(3, 2, 2)
    assert table.right(Stimulus(picture, "automobile"), net) == {"car"}
    assert table.right(Stimulus(picture, "boat"), net) == {"boat"}
    assert table.right(Stimulus(picture, "whale", {"words": frozenset({"boat"})}), net) == {"boat"}
    assert table.right(Stimulus(picture, "whale"), net) == set()
    assert table.right(Stimulus(picture), net) == set()


def test_by_default_each_model_answers_in_its_own_words():
    net = model(["a", "b"], "letters")
    assert OwnLabels().answers("net", net) == ("a", "b")
    assert OwnLabels().right(Stimulus(torch.zeros(3, 2, 2), "a"), net) == set()
    assert OwnLabels().right(Stimulus(torch.zeros(3, 2, 2), "", {"letters": frozenset("a")}), net) == {"a"}
    with pytest.raises(MetameryError, match="model 'net' has no labels"):
        OwnLabels().answers("net", model(None))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("letters = 3\n", "'letters' is 3, expected a table of categories"),
        ('[letters]\nvowel = "a"\n', "letters.vowel is 'a', expected a list of names or numbers"),
        ("[letters]\nvowel = [true]\n", "letters.vowel is .True., expected a list of names or numbers"),
        ("[letters\n", "cannot be read"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, text, said):
    with pytest.raises(MetameryError, match=said):
        words(tmp_path, text)


def test_a_table_that_does_not_fit_a_model_is_refused(tmp_path):
    table = words(tmp_path, "[letters]\nvowel = [5]\n")
    with pytest.raises(MetameryError, match="vowel holds class 5, model 'net' has 2"):
        table.answers("net", model(["a", "b"], "letters"))
    with pytest.raises(MetameryError, match="none of the classes of model 'net' is one of the labels 'words'"):
        table.answers("net", model(["a", "b"]))
