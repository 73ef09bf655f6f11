"""Instructions said in other words: templates per task whose slots are filled with synonyms (CoGeLoT; VIMA spec 3.5).

A template is written with ``<kind>`` for a word of a kind (``SYNONYMS``), ``[a|b]`` for a choice, and ``{name}`` or ``%name``
for what the original said there: a picture, or a word like an angle, a texture or a made-up noun.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from maskbench.prompt import PLACEHOLDER, Prompt

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "put": ("put", "place", "position", "set", "lay", "move", "shift", "deposit", "drop"),
    "into": ("into", "in", "inside", "within", "onto", "on"),
    "rotate": ("rotate", "turn", "spin", "twist"),
    "rearrange": ("rearrange", "arrange", "reorder", "reorganise", "reposition", "sort"),
    "setup": ("setup", "configuration", "arrangement", "layout", "scene", "location", "pattern"),
    "restore": ("restore", "revert", "reset", "undo"),
    "stack": ("stack", "pile", "arrange", "put", "layout"),
    "sweep": ("sweep", "push", "wipe", "move"),
    "object": ("object", "item", "thing"),
    "objects": ("objects", "items", "things"),
    "order": ("order", "sequence", "series", "steps"),
    "follow": ("follow", "copy", "mimic", "imitate", "replicate", "duplicate", "reproduce"),
    "motion": ("motion", "movement", "path"),
    "exceeding": ("exceeding", "crossing", "passing"),
    "touching": ("touching", "hitting", "reaching"),
    "same": ("same", "matching", "identical"),
    "profile": ("profile", "shape", "form"),
    "texture": ("texture", "pattern", "look"),
    "then": ("then", "after that", "next", "afterwards"),
    "finally": ("finally", "lastly", "at last", "in the end"),
    "original": ("original", "initial", "first", "previous"),
    "is": ("is", "means", "is called"),
    "this": ("this", "that"),
    "now": ("now", "next", "please"),
    "examples": ("examples", "instance"),
}

#: Per task: what its instruction says (slots are found by position), and other ways to say it.
TEMPLATES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "visual_manipulation": (
        "Put the %a into the %b.",
        (
            "<put> the %a <into> the %b.",
            "<put> %a <into> %b.",
            "take the %a and <put> it <into> the %b.",
            "[grab|get|take] the %a and <put> it <into> the %b.",
            "the %a should go <into> the %b.",
        ),
    ),
    "scene_understanding": (
        "Put the %t object in %s into the %u object.",
        (
            "<put> the %t <object> in %s <into> the %u <object>.",
            "take the %t <object> from %s and <put> it <into> the %u <object>.",
            "<put> the <object> that is %t in %s <into> the one that is %u.",
            "[grab|get] the %t <object> shown in %s and <put> it <into> the %u <object>.",
            "from %s, <put> the %t <object> <into> the %u <object>.",
        ),
    ),
    "rotate": (
        "Rotate the %a %n degrees.",
        (
            "<rotate> the %a %n degrees.",
            "<rotate> the %a by %n degrees.",
            "<rotate> the %a by an angle of %n degrees.",
            "take the %a and <rotate> it %n degrees.",
            "precisely <rotate> the %a %n degrees.",
        ),
    ),
    "rearrange": (
        "Rearrange to this %s.",
        ("<rearrange> to <this> %s.", "<rearrange> <objects> to match <this> <setup> %s."),
    ),
    "rearrange_then_restore": (
        "Rearrange objects to this setup %s and then restore.",
        (
            "<rearrange> <objects> to this <setup> %s and <then> <restore>.",
            "<rearrange> <objects> to match this <setup> %s and <then> <restore>.",
            "<rearrange> <objects> into %s and <then> <restore> the <original> <setup>.",
            "make the <setup> look like %s and <then> <restore> it.",
        ),
    ),
    "novel_noun": (
        "This is a %p %a. This is a %q %b. Put a %r into a %v.",
        (
            "<this> <is> a %p %a. <this> <is> a %q %b. <put> a %r <into> a %v.",
            "%a <is> a %p. %b <is> a %q. <put> a %r <into> a %v.",
            "<this> <is> a %p %a and <this> <is> a %q %b. take a %r and <put> it <into> a %v.",
            "here is a %p %a. here is a %q %b. <now> <put> a %r <into> a %v.",
        ),
    ),
    "follow_motion": (
        "Follow this motion for %a: %x %y %z.",
        (
            "<follow> this <motion> for %a: %x %y %z.",
            "<follow> the <motion> of %a: %x %y %z.",
            "move %a as in this <motion>: %x %y %z.",
        ),
    ),
    "follow_order": (
        "Stack objects in this order %x %y %z.",
        (
            "<stack> <objects> in this <order> %x %y %z.",
            "<stack> the <objects> in this <order>: %x %y %z.",
            "<stack> <objects> like this %x %y %z.",
            "<stack> these <objects> as in the <order> %x %y %z.",
        ),
    ),
    "sweep_without_exceeding": (
        "Sweep %d %a into %b without exceeding %c.",
        (
            "<sweep> %d %a <into> %b without <exceeding> %c.",
            "<sweep> %d %a <into> %b but do not go beyond %c.",
            "without <exceeding> %c <sweep> %d %a <into> %b.",
        ),
    ),
    "sweep_without_touching": (
        "Sweep %d %a into %b without touching %c.",
        ("<sweep> %d %a <into> %b without <touching> %c.", "without <touching> %c <sweep> %d %a <into> %b."),
    ),
    "same_texture": (
        "Put all objects with the same texture as %a into it.",
        (
            "<put> all <objects> with the <same> <texture> as %a <into> it.",
            "take all <objects> that have the <same> <texture> as %a and <put> them <into> it.",
        ),
    ),
    "same_shape": (
        "Put all objects with the same profile as %a into it.",
        (
            "<put> all <objects> with the <same> <profile> as %a <into> it.",
            "take all <objects> that have the <same> <profile> as %a and <put> them <into> it.",
        ),
    ),
    "manipulate_old_neighbor": (
        "First put %a into %b then put the object that was previously at its %d into the same %c.",
        (
            "first <put> %a <into> %b <then> <put> the <object> that was previously at its %d <into> the same %c.",
            "<put> %a <into> %b and <then> the <object> that was at its %d <into> the same %c.",
            "first <put> %a <into> %b, <then> do the same for what was previously at its %d: <put> it <into> %c.",
        ),
    ),
    "pick_in_order_then_restore": (
        "Put %a into %b then %c. Finally restore it into its original container.",
        (
            "<put> %a <into> %b <then> %c. <finally> <restore> it <into> its <original> container.",
            "take %a, <put> it <into> %b and <then> %c. <finally> return it to its <original> container.",
            "<put> %a <into> %b, <then> %c, and <finally> back <into> its <original> container.",
        ),
    ),
}

_CHOICE = re.compile(r"\[([^\]]+)\]")
_KIND = re.compile(r"<(\w+)>")
_SLOT = re.compile(r"%(\w)")


def paraphrase(prompt: Prompt, task: str, random: np.random.Generator) -> Prompt:
    """The instruction of ``task`` in other words, with every picture, texture, noun and angle that it had.

    Tasks of demonstrations (``novel_adj``, ``twist`` ...), and instructions that do not read as their template, keep their
    sentences; words that have synonyms change there.
    """
    original, ways = TEMPLATES.get(task, ("", ()))
    found = _read(original).fullmatch(prompt.text) if original else None
    if found is None:
        return replace(prompt, text=_capital(_exchanged(prompt.text, random)))
    text = str(random.choice(ways))
    text = _CHOICE.sub(lambda m: str(random.choice(m[1].split("|"))), text)
    text = _KIND.sub(lambda m: str(random.choice(SYNONYMS[m[1]])), text)
    text = _SLOT.sub(lambda m: found[f"slot_{m[1]}"], text)
    return replace(prompt, text=_capital(text))


def _read(template: str) -> re.Pattern[str]:
    """A pattern with one group a slot. Slots are one placeholder, or words without one."""
    pieces = [re.escape(p) if i % 2 == 0 else rf"(?P<slot_{p}>{PLACEHOLDER.pattern.replace('(', '(?:')}|[^{{}}]+?)"
              for i, p in enumerate(_SLOT.split(template))]  # fmt: skip
    return re.compile("".join(pieces))


def _exchanged(text: str, random: np.random.Generator) -> str:
    def other(match: re.Match[str]) -> str:
        word = match[0]
        return str(random.choice(SYNONYMS[word.lower()])) if word.lower() in _SAFE else word

    parts = re.split(rf"({PLACEHOLDER.pattern.replace('(', '(?:')})", text)
    return "".join(p if i % 2 else re.sub(r"[A-Za-z]+", other, p) for i, p in enumerate(parts))


#: Kinds whose words may be exchanged wherever they stand.
_SAFE = frozenset({"put", "into", "object", "objects", "then", "now", "finally", "rearrange", "restore"})


def _capital(text: str) -> str:
    """Sentences begin with a capital letter; nothing else changes its case."""
    return re.sub(r"(^|[.] )([a-z])", lambda m: m[1] + m[2].upper(), text)
