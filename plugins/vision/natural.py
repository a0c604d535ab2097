"""The photographs that come with scikit-image.

Sources and licences are those of the docstrings of `skimage.data`; where these state none, this is recorded.

Correct labels are given only where an ImageNet class names what is shown, or comes closest: ImageNet-1k has no
motorcycle apart from the moped and the motor scooter, and no launch vehicle apart from the missile and the
projectile. Chelsea has a tabby's coat, so tabby and tiger cat are correct; networks often answer Egyptian cat, a breed
that is not documented for her, so it does not count. The other photographs have no correct labels: whether an answer
is correct is then missing, not false.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import skimage

from ...framework.errors import MetameryError
from ...framework.stimuli import Stimulus, check_limit
from .imagenet import IMAGENET_1K, IMAGENET_16
from .pictures import read_picture

_NOT_STATED = "not stated by scikit-image"
_CC0 = "CC0"


@dataclass(frozen=True)
class Photograph:
    """One photograph: the file in scikit-image's data folder and its metadata."""

    name: str
    file: str
    category: str
    source: str
    licence: str
    labels: Mapping[str, frozenset[str]] = field(default_factory=dict)


def _answers(*imagenet_1k: str, imagenet_16: str = "") -> dict[str, frozenset[str]]:
    answers = {IMAGENET_1K: frozenset(imagenet_1k)}
    return answers | ({IMAGENET_16: frozenset({imagenet_16})} if imagenet_16 else {})


PHOTOGRAPHS = (
    Photograph(
        "chelsea",
        "chelsea.png",
        "cat",
        "skimage.data.chelsea: Stefan van der Walt",
        _CC0,
        _answers("tabby", "tiger cat", imagenet_16="cat"),
    ),
    Photograph(
        "coffee",
        "coffee.png",
        "coffee cup",
        "skimage.data.coffee: Rachel Michetti, courtesy of Pikolo Espresso Bar",
        _CC0,
        _answers("espresso", "cup"),
    ),
    Photograph(
        "camera",
        "camera.png",
        "camera on a tripod",
        "skimage.data.camera: Lav Varshney",
        _CC0,
        _answers("tripod"),
    ),
    Photograph(
        "rocket",
        "rocket.jpg",
        "rocket",
        "skimage.data.rocket: SpaceX, https://www.flickr.com/photos/spacexphotos/16511594820/in/photostream/",
        "public domain",
        _answers("missile", "projectile"),
    ),
    Photograph(
        "motorcycle",
        "motorcycle_left.png",
        "motorcycle",
        "skimage.data.stereo_motorcycle, left picture: Middlebury 2014 stereo benchmark, Scharstein et al. (2014), "
        "http://vision.middlebury.edu/stereo/data/scenes2014/",
        _NOT_STATED,
        _answers("moped", "motor scooter"),
    ),
    Photograph(
        "astronaut",
        "astronaut.png",
        "astronaut",
        "skimage.data.astronaut: NASA Great Images database, https://flic.kr/p/r9qvLn",
        "public domain, no known copyright restrictions",
    ),
    Photograph(
        "clock",
        "clock_motion.png",
        "clock",
        "skimage.data.clock: Stefan van der Walt",
        "public domain",
        _answers("wall clock", "analog clock", imagenet_16="clock"),
    ),
    Photograph(
        "coins",
        "coins.png",
        "coins",
        "skimage.data.coins: Brooklyn Museum Collection, "
        "https://www.brooklynmuseum.org/opencollection/archives/image/51611",
        "no known copyright restrictions",
    ),
    Photograph(
        "brick",
        "brick.png",
        "brick wall",
        "skimage.data.brick: https://cc0textures.com/view.php?tex=Bricks25",
        _CC0,
    ),
    Photograph(
        "grass",
        "grass.png",
        "grass",
        "skimage.data.grass: https://www.deviantart.com/linolafett/art/Grass-01-434853879",
        _CC0,
    ),
    Photograph(
        "gravel",
        "gravel.png",
        "gravel",
        "skimage.data.gravel: https://cc0textures.com/view.php?tex=Gravel04",
        _CC0,
    ),
    Photograph("moon", "moon.png", "moon", "skimage.data.moon", _NOT_STATED),
    Photograph(
        "hubble_deep_field",
        "hubble_deep_field.jpg",
        "galaxies",
        "skimage.data.hubble_deep_field: NASA, http://hubblesite.org/newscenter/archive/releases/2012/37/image/a/",
        "public domain",
    ),
    Photograph(
        "retina",
        "retina.jpg",
        "retina",
        "skimage.data.retina: Häggström (2014), doi:10.15347/wjm/2014.008, "
        "https://commons.wikimedia.org/wiki/File:Fundus_photograph_of_normal_left_eye.jpg",
        "CC0 1.0",
    ),
    Photograph(
        "immunohistochemistry",
        "ihc.png",
        "tissue",
        "skimage.data.immunohistochemistry: Center for Microscopy And Molecular Imaging (CMMI)",
        "no known copyright restrictions",
    ),
    Photograph(
        "text",
        "text.png",
        "handwriting",
        "skimage.data.text: https://en.wikipedia.org/wiki/File:Corner.png",
        "public domain, no known copyright restrictions",
    ),
    Photograph("page", "page.png", "printed page", "skimage.data.page", _NOT_STATED),
)
"""The photographs in the order of the stimuli: first those that a network trained on ImageNet should know."""


@dataclass(frozen=True)
class NaturalStimuli:
    """Photographs as stimuli, each decoded when it is read: ``(1 or 3, H, W)`` in [0, 1]."""

    photographs: tuple[Photograph, ...]

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, index: int, /) -> Stimulus:
        """Return one photograph.

        Raises
        ------
        IndexError
            `index` is past the end.
        MetameryError
            The installed scikit-image does not contain its file.
        """
        photograph = self.photographs[index]
        path = Path(skimage.__file__).parent / "data" / photograph.file
        if not path.is_file():
            raise MetameryError(
                f"scikit-image {version('scikit-image')} does not contain the picture '{photograph.file}'"
            )
        return Stimulus(
            read_picture(path),
            photograph.category,
            photograph.labels,
            photograph.name,
            photograph.source,
            photograph.licence,
        )

    def __iter__(self) -> Iterator[Stimulus]:
        return (self[index] for index in range(len(self)))


def natural(*, limit: int | None = None) -> NaturalStimuli:
    """Return the photographs, or the first `limit` of them.

    Raises
    ------
    MetameryError
        `limit` is not a whole number above 0.
    """
    check_limit(limit)
    return NaturalStimuli(PHOTOGRAPHS[:limit])
