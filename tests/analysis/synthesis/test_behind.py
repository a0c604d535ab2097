"""Reading and writing beside the updates: in order, at most one result waits, and errors are not lost."""

import threading

import numpy as np
import pytest
import torch
from metamery.analysis.synthesis.behind import Behind
from metamery.analysis.synthesis.driver import NaturalSignals, make_metamers
from metamery.analysis.synthesis.procedure import Procedure
from metamery.analysis.synthesis.settings import resolve_settings
from metamery.framework import MetameryError, Plugins, testing
from metamery.framework.progress import Progress


def test_what_is_to_be_done_is_done_in_order_and_beside():
    done, go_on = [], threading.Event()
    with Behind() as behind:
        behind.do(lambda: (go_on.wait(10), done.append((1, threading.current_thread()))))
        assert done == []  # the program goes on meanwhile
        go_on.set()
        behind.do(lambda: done.append((2, threading.current_thread())))
        assert [number for number, _ in done][:1] == [1]  # the second waits for the first
    assert [number for number, _ in done] == [1, 2]
    assert {thread for _, thread in done}.isdisjoint({threading.main_thread()})


def test_one_item_is_worked_out_ahead():
    begun = []
    with Behind() as behind:
        found = behind.ahead(lambda item: begun.append(item) or item * 10, range(4))
        assert next(found) == 0
        behind.do(int)
        behind.do(int)  # the thread has come to it
        assert begun == [0, 1]
        assert list(found) == [10, 20, 30]


def fail():
    raise MetameryError("the disk is full")


def told_at(opportunity, reached):
    with Behind() as behind:
        behind.do(fail)
        list(behind.ahead(abs, [0]))  # by now it has failed
        if opportunity == "do":
            behind.do(reached.append, "did")
        elif opportunity == "check":
            behind.check()
        reached.append("end")


@pytest.mark.parametrize(("opportunity", "reached"), [("do", []), ("check", []), ("end", ["end"])])
def test_an_error_is_raised_at_the_next_opportunity(opportunity, reached):
    found = []
    with pytest.raises(MetameryError, match="the disk is full"):
        told_at(opportunity, found)
    assert found == reached


def interrupted(work):
    with Behind() as behind:
        behind.do(work)
        raise KeyboardInterrupt


def test_another_error_is_not_replaced_and_what_was_begun_is_finished():
    done, go_on = [], threading.Event()
    threading.Timer(0.2, go_on.set).start()
    with pytest.raises(KeyboardInterrupt):
        interrupted(lambda: (go_on.wait(10), done.append(1)))
    assert done == [1]
    with pytest.raises(KeyboardInterrupt):
        interrupted(fail)


class Counted(Progress):
    """The number of updates of single signals."""

    updates = 0

    def advance(self, steps=1):
        self.updates += steps


def make(write, progress=None, stimuli=5, **changes):
    model = testing.example_model()
    signals = torch.stack([model.domain.fit(each) for each in testing.example_stimuli(model, stimuli)])
    settings = resolve_settings("fast", batch_size=2, **changes)
    names = [str(index) for index in range(stimuli)]
    read = []
    natural = NaturalSignals(names, lambda block: read.append(block.start) or signals[block])
    done = np.zeros((1, stimuli, settings.seeds), dtype=bool)
    procedure = Procedure.load(settings, Plugins(installed=()))
    make_metamers(model, natural, ["1"], ["1"], procedure, seed=0, write=write, done=done, progress=progress)
    return read


def test_each_batch_is_written_once_with_its_state_last():
    written = []
    read = make(
        lambda group, region, values: written.append((group, region["stimulus"].start, list(values)[-1])), steps=3
    )
    assert read == [0, 2, 4]
    assert [(group, first) for group, first, _ in written] == [
        (group, first) for first in (0, 2, 4) for group in ("stimuli", "match", "metamers")
    ]
    assert {last for group, _, last in written if group == "metamers"} == {"state"}


def test_a_batch_that_cannot_be_written_stops_the_next_one_in_its_updates():
    def write(group, _region, _values):
        if group == "metamers":
            raise MetameryError("the disk is full")

    counted = Counted()
    with pytest.raises(MetameryError, match="the disk is full"):
        make(write, counted, steps=400)
    assert 2 * 400 <= counted.updates < 4 * 400
