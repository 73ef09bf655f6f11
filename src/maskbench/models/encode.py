"""What a trained model knows about a state, for other learners (MTM's representations for RL; unimask.md section 6.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from maskbench.data.normalise import Normaliser
from maskbench.data.store import EpisodeStore
from maskbench.errors import ConfigError
from maskbench.masking.scheme import MaskSet
from maskbench.models.sequence import SequenceModel
from maskbench.trajectory import Role, TrajectorySpec, Window, part_slice


class FrozenEncoder(nn.Module):
    """The encoder of a trained model as a layer in front of an agent's networks.

        agent = nn.Sequential(FrozenEncoder(model, normaliser), nn.Linear(width, 256), ...)

    Autoencoders (MTM, MaskDP) give the states of their encoder, which saw the given cells alone; other models those of their
    last layer. The result is the concatenation over the tokens of ``roles`` at the last timestep that is given.

    roles:  what is shown: ``state``, or ``state`` and ``action``.
    steps:  timesteps shown; 1 encodes single states, as MTM does.
    frozen: False lets gradients train the model further (and dropout act in training mode).
    """

    def __init__(
        self,
        model: SequenceModel,
        normaliser: Normaliser,
        roles: Sequence[Role] = ("state",),
        steps: int = 1,
        frozen: bool = True,
    ) -> None:
        super().__init__()
        layout = model.layout
        if not 1 <= steps <= layout.length:
            raise ConfigError(f"the model reads 1 to {layout.length} timesteps; found steps={steps}")
        shown = [i for i, f in enumerate(layout.spec) if f.role in roles and f in layout.inputs]
        self.tokens = [s for s, stream in enumerate(layout.streams) if set(stream.columns) & set(shown)]
        lacking = [r for r in roles if not any(layout.spec.factors[i].role == r for i in shown)]
        if not shown or lacking:
            raise ConfigError(
                f"the model sees {[f.name for f in layout.inputs]}; it cannot encode roles {lacking or list(roles)}"
            )
        self.model, self.normaliser, self.steps, self.frozen = model, normaliser, steps, frozen
        self.spec: TrajectorySpec = normaliser.spec
        self.register_buffer("shown", torch.zeros(len(layout.spec), dtype=torch.bool), persistent=False)
        self.shown: Tensor
        self.shown[shown] = True
        self.to(next(model.parameters()).device)
        model.requires_grad_(not frozen)
        self.train(not frozen)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Stored factors that have to be given."""
        layout = self.model.layout
        return tuple(dict.fromkeys(f.parent for f, s in zip(layout.spec, self.shown.tolist(), strict=True) if s))

    @property
    def width(self) -> int:
        """Numbers per representation."""
        n_embd: int = self.model.embed.streams[0].out_features  # type: ignore[union-attr,index,assignment]
        return n_embd * len(self.tokens)

    def train(self, mode: bool = True) -> FrozenEncoder:
        """A frozen model stays in evaluation mode whatever the agent does."""
        return super().train(mode and not self.frozen)

    def forward(self, values: Mapping[str, Tensor], recorded: Tensor | None = None) -> Tensor:
        """Representations ``(B, width)``.

        values:   per factor of ``inputs`` ``(B, steps, *shape)``, or ``(B, *shape)`` for one step, in recorded units.
        recorded: ``(B, steps)`` bool, False = before the episode began.
        """
        window = self.window(values)
        layout = self.model.layout
        visible = self.shown.expand(window.batch, layout.length, -1).clone()
        visible[:, self.steps :] = False
        if recorded is not None:
            visible[:, : self.steps] &= recorded[..., None]
        bound = self.steps * len(self.tokens)
        states = self.model.representation(window, MaskSet(visible, ~visible, self.model.attends[0], bound), layout)
        now = [layout.token(self.steps - 1, s) for s in self.tokens]
        return states[:, now].flatten(1)

    def window(self, values: Mapping[str, Tensor]) -> Window:
        """The cells in model units, at the beginning of a window as long as the model's; zero where nothing is shown."""
        layout, device = self.model.layout, self.shown.device
        if missing := [n for n in self.inputs if n not in values]:
            raise ConfigError(f"the encoder needs the factors {list(self.inputs)}; {missing} are missing")
        batch = len(values[self.inputs[0]])
        cells: dict[str, Tensor] = {}
        for f, shown in zip(layout.spec, self.shown.tolist(), strict=True):
            discrete = f.kind == "discrete"
            shape = (batch, layout.length) if discrete else (batch, layout.length, *f.shape)
            cells[f.name] = torch.zeros(shape, dtype=torch.long if discrete else torch.float32, device=device)
            if shown:
                given = values[f.parent].to(device)
                given = given[:, None] if self.steps == 1 and given.dim() < cells[f.name].dim() else given
                if not discrete:
                    part = given.float()[..., part_slice(self.spec[f.parent], f.name)]
                    given = self.normaliser.apply(f.name, part)
                cells[f.name][:, : self.steps] = given
        return Window(cells)


def encode_store(encoder: FrozenEncoder, store: EpisodeStore, batch_size: int = 4096) -> np.ndarray:
    """``(N, width)`` float32: the representation of every row of a store, each with up to ``steps - 1`` rows before it."""
    begins = np.repeat(store.ends - store.lengths, store.lengths)
    back = np.arange(1 - encoder.steps, 1)
    result = np.empty((store.num_steps, encoder.width), np.float32)
    with torch.no_grad():
        for first in range(0, store.num_steps, batch_size):
            rows = np.arange(first, min(first + batch_size, store.num_steps))[:, None] + back
            recorded = rows >= begins[rows[:, -1], None]
            rows = np.maximum(rows, begins[rows[:, -1], None])
            values = {n: torch.as_tensor(np.asarray(store.array(n)[rows])) for n in encoder.inputs}
            states = encoder(values, torch.as_tensor(recorded, device=encoder.shown.device))
            result[first : first + len(rows)] = states.float().cpu().numpy()
    return result
