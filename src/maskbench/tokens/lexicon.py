"""The words that tabletop prompts and their paraphrases are made of (VIMA spec 1.4 - 1.6, 3.5), sorted by kind."""

from __future__ import annotations

_TEMPLATES = """a all an any are as at before after by degrees degree defined demo direction each end ends every examples
example exceeding finally first follow for from grab in into is it its its less line more motion move neighbor
neighbour north south east west now object objects of on one onto or order original other out over pick place
please previously profile push put rearrange restore rotate rotating same scene set setup shape specific stack
sweep take texture textures than that the their then these this three to touching turn twist two up was were
what when which with without angle container position positions"""
_SYNONYMS = """align all arrange back beneath bring carry change clockwise configure collect copy create crossing deposit do
done drop drag duplicate exact following form get go goes gather given half how image inside item items keep
lay layout leave lift like limit location make match matching mimic moving must next not pass pattern picture
pile pose put replicate reproduce return reorder reorganise reorganize reposition return revert rotated same
section series settle shift should show shown sits situated slide sort spin spot start state step steps stuff
swap target teach thing things times until use using via way where within you your initial precisely relocate
reset sequence structure undo whatever wipe called named means meaning known refers definition"""
_OBJECTS = """letter r a e g m t v block cross triangle flower heart ring pentagon l shaped star diamond hexagon round bowl
frame container square pallet pan shorter three sided rectangle line small hanoi stand disk"""
_TEXTURES = """red blue green orange yellow purple pink cyan olive dark brick tiles wooden granite plastic polka dot dots
checkerboard tiger magma rainbow stripe stripes striped swirl swirls paisley and grey gray"""
_NOUNS = """dax blicket wug zup xachup feplicat gazip duchat daxer blicker modier kobar xachupiar feplicatarie gazipierdo
duchatler taller shorter lighter darker"""
_NUMBERS = " ".join(str(n) for n in range(0, 370, 10)) + " 1 2 3 4 5 6 7 8 9 zero four five six seven eight nine ten none"

#: Every word once, in an order that never changes: its place is its number.
WORDS: tuple[str, ...] = tuple(dict.fromkeys(" ".join((_TEMPLATES, _SYNONYMS, _OBJECTS, _TEXTURES, _NOUNS, _NUMBERS)).split()))
