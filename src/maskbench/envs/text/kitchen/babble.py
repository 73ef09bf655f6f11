"""Sentences that nobody has read before: random words around the names that matter.

TextWorld tells of rooms and furniture in hundreds of ways, of which ``prose`` knows some; a model that has read only these
takes an unknown sentence for an unknown situation. Random words teach it to look for the names.
"""

from __future__ import annotations

from random import Random

_TEXT = """
a about above across after again against air all almost alone along already also although always am among an and
another answer any anyone anything appear are around arrive as ask at away back bad be beautiful because become been
before begin behind being believe below beside best better between big bit boring both bright bring building but by
call can careful catch chance change clean clear close cold come could course curious dark day did different do does
done door doubt down dream drop dust each early easy else empty end enough entire even ever every everyone everything
exactly excited eye face fact fall familiar famous fancy far fast feel few find fine first floor follow for forget
found free friend from full funny further game get give glad go gone good great ground guess had half happen happy
hard has have he head hear hello help her here hey high him his hold home hope hour house how however huge I idea if
imagine important in inside instead interesting into is it its just keep kind know large last late later laugh least
leave less let life light like likely listen little long look lose lot loud low luck made make many maybe mean mind
minute moment more morning most move much must my name near need never new next nice night no nobody none nor normal
not note nothing notice now number of off often oh old on once one only open or ordinary other our out over own part
pass past people perhaps person place plain please point pretty probably quick quiet quite rather reach ready real
really reason remember right room round run same say second see seem seen shape she short should show side sign
silence simple since sit small smell so some someone something sometimes soon sorry sort sound space stand standard
start stay step still stop story strange stuff such sudden sure surprise take talk tell than thank that the their them
then there these they thing think this those though thought three through time tiny to today together tomorrow too top
toward treasure true try turn two typical under until up upon us usual very view wait walk wall want warm was waste
watch way we well were what whatever when where which while who whole why wide will wish with without wonder wonderful
word work world worry would wrong year yes yet you young your
"""
_WORDS = tuple(_TEXT.split())


def babble(rng: Random, *parts: str) -> str:
    """``parts`` in their order, with up to seven random words before, between and after them; one to three sentences."""
    said: list[str] = []
    for part in (*parts, ""):
        said += rng.choices(_WORDS, k=rng.randrange(8))
        if said and rng.random() < 0.3:
            said[-1] += rng.choice((".", "!", "?", ",", "..."))
        said += [part] if part else []
    text = " ".join(said) or rng.choice(_WORDS)
    return text[0].upper() + text[1:].rstrip(".,!?") + rng.choice("...!?")
