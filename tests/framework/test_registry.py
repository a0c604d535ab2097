"""Names: their syntax, how they are found, and the message when they are not."""

from __future__ import annotations

import string
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metamery.framework import MetameryError, MissingExtraError, UnknownNameError
from metamery.framework.errors import unknown
from metamery.framework.registry import KINDS, Entry, Registry, absolute, check_options

PART = st.text(string.ascii_letters + string.digits + "._@+-", min_size=1).filter(lambda text: text[0].isalnum())
NAME = st.lists(PART, min_size=1, max_size=3).map("/".join)


def build(size: int = 1, *, weights: str = "none") -> dict[str, object]:
    return {"size": size, "weights": weights}


def member(name: str, *, scale: float = 1.0) -> tuple[str, float]:
    return name, scale


def anything(**options: object) -> dict[str, object]:
    return options


def names() -> list[str]:
    return ["a", "b"]


def registry(*names: str, plugin: str = "one", target: str | Callable[..., Any] = build) -> Registry:
    filled = Registry("model")
    for name in names:
        filled.add(Entry("model", plugin, name, target))
    return filled


@given(NAME)
def test_a_well_formed_name_is_found_bare_and_with_its_plugin(name: str) -> None:
    filled = registry(name)
    for asked in (name, f"one:{name}"):
        found = filled.find(asked)
        assert (found.qualified, found.member) == (f"one:{name}", "")


@given(NAME, NAME)
def test_a_family_serves_every_name_below_it_and_gives_its_factory_the_rest(family: str, rest: str) -> None:
    filled = registry(f"{family}/", target=member)
    found = filled.find(f"{family}/{rest}")
    assert found.build() == (rest, 1.0)
    assert found.qualified == f"one:{family}/{rest}"
    with pytest.raises(UnknownNameError):
        filled.find(f"{family}/")


@given(st.text(max_size=8))
def test_a_name_is_taken_or_refused_but_never_half_taken(name: str) -> None:
    filled = Registry("model")
    refused = ""
    try:
        filled.add(Entry("model", "one", name, build))
    except MetameryError as error:
        refused = str(error)
    if refused:
        assert repr(name) in refused
        assert filled.entries() == []
    else:
        assert filled.find(f"{name}x" if name.endswith("/") else name).entry.name == name


@pytest.mark.parametrize("name", ["", " a", "a b", "a:b", "/a", "a//b", ".a", "-a", "a\n", "ä", 3])
def test_malformed_names_are_refused(name: Any) -> None:
    with pytest.raises(MetameryError, match="is not of the form"):
        registry(name)


@pytest.mark.parametrize("target", ["module", "module:", ":name", "a b:c", "module:name()", "os;import:x"])
def test_malformed_targets_are_refused(target: str) -> None:
    with pytest.raises(MetameryError, match=r"expected 'package.module:attribute'"):
        registry("a", target=target)


def test_registering_a_name_twice_is_refused() -> None:
    with pytest.raises(MetameryError, match="'a' is registered twice by plugin 'one'"):
        registry("a", "a")


@pytest.mark.parametrize("name", ["models", "stimuli", "history", "Models", "HISTORY", "models/", "zarr.json"])
def test_an_evaluator_is_not_called_as_a_study_s_own_group(name: str) -> None:
    with pytest.raises(MetameryError, match="cannot be an evaluator's name"):
        Registry("evaluator").add(Entry("evaluator", "one", name, build))
    Registry("evaluator").add(Entry("evaluator", "one", f"my-{name}", build))
    Registry("model").add(Entry("model", "one", name, build))


def test_the_longest_family_wins_and_an_exact_name_before_it() -> None:
    filled = registry("a/", "a/b/", "a/b/c", target=anything)
    assert filled.find("a/x").entry.name == "a/"
    assert filled.find("a/b/x").entry.name == "a/b/"
    assert filled.find("a/b/x").member == "x"
    assert filled.find("a/b/c").entry.name == "a/b/c"


def test_two_plugins_names_collide_only_when_used_bare() -> None:
    filled = registry("a", "only")
    filled.add(Entry("model", "two", "a", anything))
    assert filled.find("only").qualified == "one:only"
    with pytest.raises(MetameryError, match="'one:a' or 'two:a'"):
        filled.find("a")
    assert filled.find("one:a").entry.target is build
    assert filled.find("two:a").entry.target is anything
    with pytest.raises(UnknownNameError):
        filled.find("two:only")


def test_two_plugins_families_collide_on_their_members() -> None:
    filled = registry("zoo/", target=member)
    filled.add(Entry("model", "two", "zoo/", member))
    with pytest.raises(MetameryError, match="write 'one:zoo/lion' or 'two:zoo/lion'"):
        filled.find("zoo/lion")
    assert filled.find("two:zoo/lion").build() == ("lion", 1.0)


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown model 'resnet5'; did you mean 'resnet50'.*hint$"):
        registry("resnet50", "alexnet").find("resnet5", " hint")


def test_an_unknown_name_far_from_all_is_told_what_there_is() -> None:
    assert str(unknown("model", "zzz", ["a", "b"])) == "unknown model 'zzz'. Known: a, b"
    assert str(unknown("model", "zzz", [])) == "unknown model 'zzz'. Known: none"
    assert str(unknown("model", "zzz", map(str, range(20)))).endswith("10, 11, … (20 in all)")


def test_removing_a_plugin_removes_its_names_alone() -> None:
    filled = registry("a", "b")
    filled.add(Entry("model", "two", "a", anything))
    filled.remove("one")
    assert [entry.qualified for entry in filled.entries()] == ["two:a"]


def test_entries_are_in_order() -> None:
    assert [entry.name for entry in registry("b", "a", "c").entries()] == ["a", "b", "c"]


# What is behind a name


def test_a_factory_is_imported_when_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lazy_module.py").write_text("class Place:\n    @staticmethod\n    def build(): return 'built'\n")
    entry = registry("a", target="lazy_module:Place.build").find("a")
    with pytest.raises(MetameryError, match="'one:a' cannot be imported: No module named 'lazy_module'"):
        entry.build()
    monkeypatch.syspath_prepend(tmp_path)
    assert entry.build() == "built"


def test_a_factory_that_is_not_there_is_named() -> None:
    with pytest.raises(MetameryError, match=r"'one:a' cannot be imported: .*no_such_function"):
        registry("a", target="os.path:no_such_function").find("a").build()


def test_a_missing_extra_is_named_with_what_to_install() -> None:
    entry = Entry("model", "one", "a", "no_such_package.models:build", facts={"extra": "demo"})
    with pytest.raises(MissingExtraError, match=r"needs the package 'no_such_package': pip install 'metamery\[demo\]'"):
        entry.factory()


def test_a_plugins_own_extra_is_named_as_it_says() -> None:
    entry = Entry("model", "one", "a", "no_such_package.models:build", facts={"extra": "zebra[net]"})
    with pytest.raises(MissingExtraError, match=r"pip install 'zebra\[net\]'"):
        entry.factory()


def test_an_unknown_fact_is_told_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown fact of model 'zoo/': 'nmaes'; did you mean 'names'"):
        Registry("model").add(Entry("model", "one", "zoo/", member, facts={"nmaes": "x:y"}))


@pytest.mark.parametrize("name", ["zoo/", "zoo"])
def test_a_family_is_no_name(name: str) -> None:
    zoo = Registry("model")
    zoo.add(Entry("model", "one", "zoo/", member, facts={"names": f"{__name__}:names"}))
    with pytest.raises(MetameryError, match="model 'zoo/' is a family: write zoo/NAME, such as zoo/a, zoo/b"):
        zoo.find(name)
    broken = Registry("model")
    broken.add(Entry("model", "one", "zoo/", member, facts={"names": f"{__name__}:nmaes"}))
    with pytest.raises(MetameryError, match=r"is a family: write zoo/NAME$"):
        broken.find(name)


def test_a_fault_in_a_factory_says_whose_it_is() -> None:
    def faulty(size: int = 1) -> float:
        return size / 0

    with pytest.raises(ZeroDivisionError) as caught:
        registry("a", target=faulty).find("a").build(size=3)
    assert caught.value.__notes__ == ["in the factory of model 'one:a', given {'size': 3}"]


def test_options_are_told_with_their_defaults() -> None:
    assert registry("a").find("a").options() == "size = 1, weights = 'none'"
    assert registry("zoo/", target=member).find("zoo/lion").options() == "scale = 1.0"
    assert registry("a", target=anything).find("a").options() == ""


def test_a_family_lists_its_members() -> None:
    place = {"names": f"{__name__}:names"}
    assert Entry("model", "one", "zoo/", member, facts=place).members() == ["zoo/a", "zoo/b"]
    assert Entry("model", "one", "zoo/", member).members() == []
    assert Entry("model", "one", "lion", build).members() == ["lion"]


# Options


def test_options_reach_the_factory() -> None:
    found = registry("a").find("a")
    assert found.build(size=3) == {"size": 3, "weights": "none"}
    assert registry("a", target=anything).find("a").build(whatever=1) == {"whatever": 1}


def test_an_unknown_option_is_told_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"option of model 'a': 'weigths'; did you mean 'weights'"):
        registry("a").find("a").build(weigths="x")
    with pytest.raises(UnknownNameError, match=r"option of model 'zoo/lion': 'sale'; did you mean 'scale'"):
        registry("zoo/", target=member).find("zoo/lion").build(sale=2.0)


def test_the_member_of_a_family_is_no_option() -> None:
    with pytest.raises(UnknownNameError, match="unknown option of model 'zoo/lion': 'name'"):
        registry("zoo/", target=member).find("zoo/lion").build(name="tiger")


def test_a_missing_option_is_named() -> None:
    def needs(path: str) -> str:
        return path

    with pytest.raises(MetameryError, match="model 'a': it needs the option 'path'"):
        check_options(needs, "model 'a'", {})


# Factories in files


def test_a_function_in_a_file_is_a_factory(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def build(size=1): return size\n")
    found = Registry("model").find(f"{file}:build")
    assert found.build(size=4) == 4
    assert found.qualified == "mine.py:build"


@pytest.mark.parametrize(
    ("source", "asked", "said"),
    [
        (None, "build", "no file"),
        ("def build(): pass", "buid", "unknown function of '.*': 'buid'; did you mean 'build'"),
        ("build = 3", "build", "unknown function"),
        ("def build(:", "build", "cannot be run: SyntaxError"),
        ("import no_such_thing", "build", "cannot be run: ModuleNotFoundError"),
        ("raise RuntimeError('no')", "build", "cannot be run: RuntimeError: no"),
    ],
)
def test_a_file_that_will_not_do_is_named(tmp_path: Path, source: str | None, asked: str, said: str) -> None:
    file = tmp_path / "mine.py"
    if source is not None:
        file.write_text(source)
    with pytest.raises(MetameryError, match=said) as caught:
        Registry("model").find(f"{file}:{asked}")
    assert str(file) in str(caught.value)


def test_ten_thousand_names_take_as_long_each_as_a_thousand() -> None:
    """Lines that are run, which no other process changes: ten times as many names take ten times as many."""

    def lines(count: int) -> int:
        filled, run = Registry("model"), 0

        def trace(_frame: object, event: str, _argument: object) -> Any:
            nonlocal run
            run += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            for number in range(count):
                filled.add(Entry("model", "one", f"family{number % 100}/name{number}", build))
            filled.find("family7/name7")
            filled.find("one:family8/name8")
        finally:
            sys.settrace(before)
        return run

    assert lines(10_000) < 10.5 * lines(1000)


def test_every_kind_has_its_hook() -> None:
    from metamery.framework import hookspecs

    hooks = {name for name in vars(hookspecs) if name.startswith("register_")}
    assert hooks == {*KINDS.values(), "register_commands"}


@pytest.mark.parametrize("value", [2**63, -(10**30)])
def test_an_integer_that_no_tensor_holds_is_refused(value: int) -> None:
    with pytest.raises(MetameryError, match=r"model 'a': size is .*, expected an integer of at most"):
        check_options(lambda size: size, "model 'a'", {"size": value})
    check_options(lambda size: size, "model 'a'", {"size": float(value)})


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("hf/./vit", "hf//base/vit"),
        ("hf/../vit", "hf//vit"),
        ("huggingface:hf/./vit", "huggingface:hf//base/vit"),
        ("hf//other/vit", "hf//other/vit"),
        ("hf/owner/name", "hf/owner/name"),
        ("networks/../tiny.py:build", "/base/tiny.py:build"),
        ("../tiny.py:build", "/tiny.py:build"),
    ],
)
def test_paths_in_names_become_absolute(name: str, found: str) -> None:
    assert absolute(name, Path("/base")) == found
