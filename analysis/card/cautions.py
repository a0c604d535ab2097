"""How far a card can be trusted, in sentences, each with the number that it is from."""

from __future__ import annotations

from ...framework.manager import short
from ..report.numbers import number
from .contents import Card

FEW = 100
"""Number of stimuli below which a card is too coarse for claims about a network."""

_CEILING = 0.9


def basis(card: Card) -> list[str]:
    """Return what the prediction rests on: the published data, and the checks of juries of this size on them."""
    fit, members = card.people, len(card.jury)
    signals = {"vision": "pictures", "audio": "spoken words"}[fit.modality]
    return [
        f"The prediction is for the published task, {signals} with {fit.choices} answers, from {fit.points} stages of "
        f"{fit.networks} networks (r = {number(fit.pearson)}). When each of these networks is left out of the fit, "
        f"{number(fit.coverage)} of its points are in the 95 % interval, with a root mean square error of "
        f"{number(fit.error)}.",
        f"The jury is {members} network{'s' * (members != 1)}. The fit is from the mean of all other networks; what "
        f"fewer cost is in the interval, which contains {number(fit.jury_coverage)} of left-out points for published "
        "juries of this size. Those were large networks, trained on a thousand classes or hundreds of words: whether "
        "small networks trained on little are as good witnesses of people has not been measured.",
        f"Relatives recognise more: networks of the generating network’s own architecture {number(fit.by_relatives)}, "
        f"others {number(fit.by_strangers)} of the same published metamers. A jury of relatives makes the prediction "
        "too high.",
    ]


def cautions(card: Card) -> list[str]:
    """Return what makes this card less certain than the published data: its stimuli, its jury's answers, its layers."""
    fit, count, lines = card.people, card.stimuli.counted, []
    if card.others_natural.value is not None and card.others_natural.value < _CEILING:
        lines.append(
            f"The jury recognises {number(card.others_natural.value)} of the natural signals, so that its failure to "
            "recognise metamers says less about them."
        )
    if count < FEW:
        named, source = ("stimulus" if count == 1 else "stimuli"), ", from a folder of your own"
        lines.append(
            f"It rests on {count} {named}, which the interval takes into account as if the jury agreed on each: {FEW} "
            f"or more are needed for a claim{source if card.stimuli.are_bundled else ''}."
        )
    if any(juror.choices != fit.choices for juror in card.jury):
        given = " or ".join(str(each) for each in sorted({juror.choices for juror in card.jury}))
        lines.append(
            f"The jury chooses from {given} answers, people chose from {fit.choices}: the proportions are corrected "
            "for guessing, which does not make answers comparable that are easier or harder to confuse."
        )
    if beyond := [layer.name for layer in card.layers if layer.is_extrapolated]:
        lines.append(
            f"At {', '.join(beyond)} the jury recognises more or fewer metamers than any published ones: there the "
            "line is extrapolated."
        )
    if card.failed:
        lines.append(f"{card.failed} metamers of {short(card.network)} failed and do not count.")
    return lines
