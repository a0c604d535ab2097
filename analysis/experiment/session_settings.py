"""Settings of what surrounds the trials of a session: consent, the check of headphones, the survey, and the end."""

from __future__ import annotations

from dataclasses import dataclass

from ...framework.checks import flag, names, one_of, text, whole, wrong


@dataclass(frozen=True)
class Headphones:
    """Check that a participant wears headphones.

    Parameters
    ----------
    tests
        ``antiphase`` (Woods et al. 2017), ``huggins`` (Milne et al. 2021), or both, in their order.
    trials, needed
        Number of trials of each, and of right answers that are needed to go on.
    """

    tests: tuple[str, ...] = ("antiphase",)
    trials: int = 6
    needed: int = 5

    def __post_init__(self) -> None:
        for test in names("tests", self.tests):
            one_of("test", test, ("antiphase", "huggins"))
        whole("trials", self.trials, 1, 100)
        if whole("needed", self.needed) > self.trials:
            raise wrong("needed", self.needed, f"at most the number of trials, {self.trials}")


@dataclass(frozen=True)
class Consent:
    """What participants consent to.

    Parameters
    ----------
    text
        Paragraphs.
    """

    text: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names("text", self.text)


@dataclass(frozen=True)
class Question:
    """A question of the survey at the end.

    Parameters
    ----------
    name, label
        Column of the data, and what is asked.
    form
        ``text``, ``number`` or ``choice``.
    choices
        Answers of a choice.
    required
        Whether it has to be answered.
    """

    name: str = ""
    label: str = ""
    form: str = "text"
    choices: tuple[str, ...] = ()
    required: bool = False

    def __post_init__(self) -> None:
        if not text("name", self.name).isidentifier():
            raise wrong("a question's name", self.name, "letters, digits and _, such as age")
        text("label", self.label)
        one_of("form", self.form, ("text", "number", "choice"))
        if bool(names("choices", self.choices)) != (self.form == "choice"):
            raise wrong(
                f"choices of '{self.name}'", list(self.choices), "answers for the form choice, and for no other"
            )
        flag("required", self.required)


@dataclass(frozen=True)
class Completion:
    """What a participant gets in the end.

    Parameters
    ----------
    code
        Code that tells the recruiting service of a complete session.
    redirect
        Address that the participant is sent to when all is saved.
    """

    code: str = ""
    redirect: str = ""

    def __post_init__(self) -> None:
        text("code", self.code)
        if text("redirect", self.redirect) and not self.redirect.startswith("https://"):
            raise wrong("redirect", self.redirect, "an address that begins with https://")


@dataclass(frozen=True)
class Saving:
    """Where answers are saved.

    Parameters
    ----------
    to
        ``server`` (`metamery experiment serve`), ``jatos``, ``datapipe`` or ``download``.
    experiment_id
        Identifier of the experiment at DataPipe.
    """

    to: str = "server"
    experiment_id: str = ""

    def __post_init__(self) -> None:
        one_of("to", self.to, ("server", "jatos", "datapipe", "download"))
        if bool(text("experiment_id", self.experiment_id)) != (self.to == "datapipe"):
            raise wrong("experiment_id", self.experiment_id, "the experiment's identifier at DataPipe, for it alone")
