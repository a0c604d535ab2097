"""Prepared pictures: what is in the file, resumed after a stop, and refused where it is not what was asked."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from metamery.framework import ImageDomain, MetameryError, Plugins, Stimulus
from metamery.framework.study import Reference, load_stimuli, located
from metamery.framework.testing import check_stimuli
from metamery.training.data import examples
from metamery.training.prepared import PreparedStimuli, prepare
from PIL import Image

SIDE = 10


class Pictures:
    """Pictures of different sizes, of which one may fail."""

    def __init__(self, count: int = 9, fails_at: int | None = None, start: int = 0) -> None:
        self.count, self.fails_at, self.start, self.read = count, fails_at, start, 0

    def __len__(self) -> int:
        return self.count

    @property
    def names(self) -> list[str]:
        return [f"picture {index + self.start}" for index in range(self.count)]

    def __getitem__(self, index: int) -> Stimulus:
        if index == self.fails_at:
            raise MetameryError(f"picture {index} cannot be read")
        self.read += 1
        generator = torch.Generator().manual_seed(index + self.start)
        signal = torch.rand(1 if index == 2 else 3, 12 + index, 20 - index, generator=generator)
        labels = {"imagenet_1k": frozenset({index})} if index % 2 else {}
        return Stimulus(signal, "ab"[index % 2], labels, name=self.names[index], source="drawn", group="g")

    def __iter__(self) -> Iterator[Stimulus]:
        return (self[index] for index in range(self.count))


def test_the_file_holds_what_the_domain_makes_of_each_picture(tmp_path: Path) -> None:
    made = prepare(Pictures(), tmp_path / "a.prepared", SIDE)
    check_stimuli(made)
    domain = ImageDomain(3, SIDE, SIDE)
    for own, other in zip(made, Pictures(), strict=True):
        assert torch.equal(own.signal, (domain.fit(other) * 255).round() / 255)
        assert (own.name, own.category, own.labels, own.group, own.source) == (
            other.name, other.category, other.labels, other.group, other.source,
        )  # fmt: skip
    assert torch.equal(made.eight_bit(3).signal.float() / 255, made[3].signal)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.prepared"]


def test_some_are_taken_evenly_and_a_copy_for_another_process_maps_the_file_anew(tmp_path: Path) -> None:
    prepare(Pictures(), tmp_path / "a.prepared", SIDE)
    some = PreparedStimuli(tmp_path / "a.prepared", limit=3)
    assert some.names == ["picture 0", "picture 3", "picture 6"]
    assert some.categories == [stimulus.category for stimulus in some]
    sent = pickle.dumps(some)
    assert len(sent) < 3000
    assert torch.equal(pickle.loads(sent)[1].signal, some[1].signal)


@pytest.mark.parametrize("cut", [0, 5, 3 * SIDE * SIDE])
def test_stopped_and_resumed_is_never_stopped(tmp_path: Path, cut: int) -> None:
    """Also where the machine stopped in the middle of a picture, or before its line."""
    prepare(Pictures(), tmp_path / "whole.prepared", SIDE)
    with pytest.raises(MetameryError, match="picture 5 cannot be read"):
        prepare(Pictures(fails_at=5), tmp_path / "a.prepared", SIDE)
    part = tmp_path / "a.prepared.part"
    with part.open("ab") as file:
        file.truncate(part.stat().st_size - cut)
    stimuli = Pictures()
    prepare(stimuli, tmp_path / "a.prepared", SIDE)
    assert stimuli.read == (4 if cut == 0 else 5)
    assert (tmp_path / "a.prepared").read_bytes() == (tmp_path / "whole.prepared").read_bytes()
    again = Pictures()
    prepare(again, tmp_path / "a.prepared", SIDE)
    assert again.read == 0


def test_the_file_does_not_depend_on_the_number_of_processes_and_their_errors_are_one_line(tmp_path: Path) -> None:
    for name, workers in (("none", 0), ("two", 2)):
        prepare(Pictures(), tmp_path / f"{name}.prepared", SIDE, workers=workers)
    assert (tmp_path / "none.prepared").read_bytes() == (tmp_path / "two.prepared").read_bytes()
    with pytest.raises(MetameryError) as raised:
        prepare(Pictures(fails_at=5), tmp_path / "broken.prepared", SIDE, workers=2)
    assert str(raised.value) == "picture 5 cannot be read"


def test_another_side_other_pictures_and_other_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.prepared"
    with pytest.raises(MetameryError):
        prepare(Pictures(fails_at=5), path, SIDE)
    for name in ("part", "whole"):
        with pytest.raises(MetameryError, match="was prepared with a side of 10 pixels, not 12"):
            prepare(Pictures(), path, 12)
        with pytest.raises(MetameryError, match="was prepared with 9 pictures, not 8"):
            prepare(Pictures(8), path, SIDE)
        with pytest.raises(MetameryError, match="holds other pictures, such as 'picture 0'"):
            prepare(Pictures(start=1), path, SIDE)
        if name == "part":
            prepare(Pictures(), path, SIDE)
    with pytest.raises(MetameryError, match=r"expected a name that ends in \.prepared"):
        prepare(Pictures(), tmp_path / "a.npy", SIDE)
    with pytest.raises(MetameryError, match="there is no such file"):
        PreparedStimuli(tmp_path / "b.prepared")
    (tmp_path / "b.prepared").write_bytes(b"PNG")
    with pytest.raises(MetameryError, match="is not a file of prepared pictures"):
        PreparedStimuli(tmp_path / "b.prepared")


@pytest.mark.parametrize(("size", "held"), [(4096 + 3 * SIDE * SIDE * 4 + 17, 4), (4096 + 3 * SIDE * SIDE * 9 + 40, 9)])
def test_a_file_that_is_cut_off_is_named(tmp_path: Path, size: int, held: int) -> None:
    path = tmp_path / "a.prepared"
    prepare(Pictures(), path, SIDE)
    with path.open("r+b") as file:
        file.truncate(size)
    with pytest.raises(MetameryError, match=f"is cut off: of 9 pictures it holds {held} whole ones"):
        PreparedStimuli(path)


def test_pictures_smaller_than_the_network_s_are_refused(tmp_path: Path) -> None:
    made = prepare(Pictures(), tmp_path / "a.prepared", SIDE)
    examples(made, ["a", "b"], ImageDomain(3, 8, 8))
    with pytest.raises(MetameryError, match=r"have sides of 10 pixels, and the network takes 16: .* with --side 16"):
        examples(made, ["a", "b"], ImageDomain(3, 12, 16))


def test_sounds_are_not_prepared(tmp_path: Path) -> None:
    with pytest.raises(MetameryError, match="is a sound: only pictures are prepared"):
        prepare([Stimulus(torch.zeros(9), "a", name="hum", sample_rate=8000)], tmp_path / "a.prepared", SIDE)  # type: ignore[arg-type]


def test_the_command_makes_a_file_that_is_stimuli_by_its_path(command: Any, tmp_path: Path) -> None:
    for index, name in enumerate(("a/one", "a/two", "b/one")):
        path = tmp_path / "data" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((30, 20 + index, 3), 40 * index, dtype=np.uint8)).save(path)
    said = command("prepare", tmp_path / "data", "-o", tmp_path / "x.prepared", "--side", 16)
    assert said.status == 0, said.err
    assert "3 pictures of 16 × 16 pixels, 2 classes" in said.out
    use = located(Reference(str(tmp_path / "x.prepared")))
    assert use == Reference("files:prepared", {"path": str(tmp_path / "x.prepared")})
    stimuli = load_stimuli(Plugins(), use)
    assert [stimulus.name for stimulus in stimuli] == ["a/one", "a/two", "b/one"]
    assert float(stimuli[2].signal.mean()) == pytest.approx(80 / 255)
    said = command("prepare", tmp_path / "data", "-o", tmp_path / "x.prepared", "--side", 20)
    assert (said.status, said.err.count("\n")) == (2, 1)
