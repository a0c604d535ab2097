"""Running a study: from its file, through synthesis, to its results; an interrupted one is resumed."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext

import numpy as np
import torch

from ...framework import claims
from ...framework.devices import here
from ...framework.errors import MetameryError
from ...framework.folders import STUDY_FILE, has_results
from ...framework.manager import Plugins
from ...framework.progress import Progress
from ...framework.remote import Folder, folder_at
from ...framework.stopping import RESUMES, STARTS_AGAIN, say
from ...framework.store import StudyStore
from ...framework.study import Study
from .making import make_units
from .preparation import Prepared, check_folder, is_prepared, prepare
from .resuming import holds_results
from .units import Share, missing, units
from .workers import Workers, open_workers


def run_study(
    study: Study,
    folder: str | Folder,
    plugins: Plugins | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    part: str = "",
    scheduler: str = "",
) -> StudyStore:
    """Make the metamers of a study that are still missing.

    The store of a new study is created completely before the first update: its stimuli are read, fitted to each model
    and stored, a batch at a time, so that a picture that cannot be used is found at once.

    Parameters
    ----------
    study
        Models, stimuli and settings, as names and numbers.
    folder
        The study's folder, or a URL such as ``s3://BUCKET/FOLDER``; created if missing. The same call resumes an
        interrupted one.
    plugins
        Plugins in which names are looked up; all that are installed by default.
    device
        Device to compute on; that of the workers, if there are some.
    progress
        Display of the progress, for example a `ProgressBar`.
    part
        This process's part of the metamers, such as ``2/3``, where several processes work on one folder, also on
        different machines; by default all. The first of them creates the store while the others wait.
    scheduler
        Workers of Dask that make the metamers: ``local:N``, the address of a scheduler or a file that describes a
        cluster, see `open_workers`; by default this process makes them.

    Returns
    -------
    StudyStore
        Writer of the study's results; `open_study` reads them.

    Raises
    ------
    MetameryError
        A name is unknown, a stimulus does not fit, the folder cannot be written to, or it holds the results of a
        study with other settings, of other models or of other stimuli. A new study then leaves nothing behind,
        unless metamers were made; nor does a fault in the code of a plugin.

    Examples
    --------
    >>> import tempfile
    >>> from metamery.analysis import run_study
    >>> from metamery.framework import Study, open_study
    >>> study = Study.from_toml('''
    ...     stimuli = { name = "spoken-digits", limit = 2 }
    ...     models = [{ name = "coch-cnn-digits", layers = ["relu1"] }]
    ...     synthesis = { steps = 2 }
    ... ''')
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = run_study(study, folder)
    ...     with open_study(folder) as results:
    ...         dict(results["models/audio+coch-cnn-digits/metamers"].dataset.loss.sizes)
    {'layer': 1, 'stimulus': 2, 'seed': 1, 'step': 3}
    """
    folder, plugins, device = folder_at(folder), plugins or Plugins(), torch.device(device)
    progress, share = progress or Progress(), Share.parse(part) if part else None
    check_folder(study, folder, plugins)
    claimed = claims.work(folder) if share is None else claims.part(folder, f"{share.index}-of-{share.count}")
    with claimed as claim, plugins.trust.named_in(study.source):
        is_new, has_no_file = not has_results(folder), not (folder / STUDY_FILE).exists()
        try:
            with ExitStack() as stack:
                workers = stack.enter_context(open_workers(scheduler, plugins, device)) if scheduler else None
                together = share is None or is_prepared(folder)
                with nullcontext() if together else claims.preparation(folder):
                    prepared = prepare(study, folder, plugins, here(device), progress, claim, share, workers)
                _make(prepared, share, workers, device, claim, progress)
        except KeyboardInterrupt:
            say(RESUMES if has_results(folder) and holds_results(StudyStore(folder)) else STARTS_AGAIN)
            raise
        except MetameryError:
            raise
        except Exception:  # a fault, such as of a user's distance
            alone = is_new and share is None
            if alone and has_results(folder) and not holds_results(store := StudyStore(folder)):
                store.discard()
                if has_no_file:
                    (folder / STUDY_FILE).unlink(missing_ok=True)
            raise
    return prepared.store


def _make(
    prepared: Prepared,
    share: Share | None,
    workers: Workers | None,
    device: torch.device,
    claim: claims.Claim,
    progress: Progress,
) -> None:
    """Make the metamers that are missing, or a share of them."""
    procedure, states = prepared.procedure, prepared.states()
    every = units(states, procedure.settings.batch_size)
    asked = missing(every if share is None else share.of(every), states)
    if workers is not None:
        workers.make(prepared.store, asked, progress, claim.check)
        return
    progress.start(sum(unit.metamers for unit in asked) * procedure.settings.steps)
    for part in prepared.parts:
        others = np.ones(states[part.key].shape, dtype=bool)
        for unit in asked:
            if unit.model == part.key:
                others[unit.at] = False
        make_units(
            prepared.store,
            part,
            procedure,
            prepared.study.seed,
            others,
            device=device,
            progress=progress,
            check=claim.check,
        )
