"""One picture or sound file as the only stimulus."""

from __future__ import annotations

from pathlib import Path

from ...framework.errors import MetameryError
from ...framework.stimuli import is_utf8
from .folder import KINDS, FolderStimuli, ListedFile, accepted


def single(*, path: str | Path) -> FolderStimuli:
    """Return one picture or sound as the only stimulus, named as the file is without its ending.

    Parameters
    ----------
    path
        The file, of one of the kinds that a folder may hold.

    Raises
    ------
    MetameryError
        There is no such file, its ending is not that of a picture or sound, or its name is not UTF-8.
    """
    file = Path(path).expanduser()
    if not is_utf8(str(path)):
        raise MetameryError(f"the file {path!a} has a name that is not UTF-8: rename it")
    if "\0" in str(path) or not file.is_file():
        what = "is not a file" if "\0" not in str(path) and file.exists() else "does not exist"
        raise MetameryError(f"'{path}' {what}, expected {accepted()}")
    kind = next((each for each in KINDS if file.name.lower().endswith(each.endings)), None)
    if kind is None:
        raise MetameryError(f"'{path}' is not a picture or sound, expected {accepted()}")
    return FolderStimuli(kind, (ListedFile(file.parent, file.name, file.stem, ""),), is_listed=False)
