"""Temporally correlated random actions: an explorer that needs no learning."""

from __future__ import annotations

import numpy as np


def coloured_actions(rng: np.random.Generator, steps: int, size: int, colour: float = 1.0, scale: float = 1.0) -> np.ndarray:
    """``(steps, size)`` float32 actions in [-1, 1] whose power falls as ``1 / frequency ** colour``.

    colour: 0 white, 1 pink (moves limbs for seconds yet still jitters; Eberhard et al. 2023), 2 red.
    scale:  standard deviation before clipping. Made by shaping white noise in the frequency domain.
    """
    frequency = np.fft.rfftfreq(2 * max(steps, 2))
    frequency[0] = frequency[1]
    gain = frequency ** (-colour / 2.0)
    spectrum = gain * (rng.standard_normal((size, len(gain))) + 1j * rng.standard_normal((size, len(gain))))
    wave = np.fft.irfft(spectrum, axis=1)
    unit = np.sqrt(2.0 * (2.0 * np.square(gain[1:-1]).sum() + np.square(gain[0]) / 2 + np.square(gain[-1]) / 2)) / wave.shape[1]
    return np.asarray(np.clip(wave[:, :steps].T * (scale / unit), -1.0, 1.0), np.float32)
