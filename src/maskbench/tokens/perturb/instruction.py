"""The instruction of a sibling task in this scene (CoGeLoT): what the pictures show stays, what to do with them does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from maskbench.prompt import Prompt

#: Turns that rotation asks for, in degrees.
_ANGLES = (30, 60, 90, 120, 150)


def different_instruction(prompt: Prompt, task: str, random: np.random.Generator) -> Prompt:
    """1 -> 3, 12 <-> 13 and 14 <-> 15 (numbers of the paper); other tasks have no sibling and stay as they are."""
    text = prompt.text
    names = list(prompt.placeholders)
    if task == "visual_manipulation" and names:
        text = f"Rotate the {{{names[0]}}} {random.choice(_ANGLES)} degrees."
    elif task == "sweep_without_exceeding":
        text = text.replace("without exceeding", "without touching")
    elif task == "sweep_without_touching":
        text = text.replace("without touching", "without exceeding")
    elif task == "same_texture":
        text = text.replace("texture", "profile")
    elif task == "same_shape":
        text = text.replace("profile", "texture")
    left = {n: i for n, i in prompt.images.items() if f"{{{n}}}" in text}
    return replace(prompt, text=text, images=left)
