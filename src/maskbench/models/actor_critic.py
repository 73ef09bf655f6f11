"""An actor and twin critics on the trunk of a sequence model (MaskDP spec 3.4): offline RL from pretrained weights.

actor    s_0 .. s_T-1            -> Linear of states + positions -> blocks -> head at every state      tanh action
critic   s_0 a_0 .. s_T-1 a_T-1  -> Linears + positions          -> blocks -> heads at every action    Q1, Q2

Each owns a whole copy of the pretrained model; its decoder and reconstruction heads are carried along, unused, so that totals
of parameters are those of the publication (spec 2.7).
"""

from __future__ import annotations

import copy
from typing import Literal, cast

import torch
from torch import Tensor, nn

from maskbench.errors import ConfigError
from maskbench.models.autoencoder import Autoencoder
from maskbench.models.decoder import Decoder
from maskbench.models.sequence import SequenceModel
from maskbench.tokens.layout import Attend

Init = Literal["pretrained", "orthogonal"]
#: Blocks of a GPT trunk that the published code keeps.
GPT_BLOCKS = 3


class Trunk(nn.Module):
    """Encoder blocks of ``model`` on tokens of states (and actions), without its last norm.

    attend: ``causal`` (published) or ``bidirectional``. blocks: how many, None for all of an autoencoder's encoder and the
    first three of a GPT. placed: positions of states in the actor, ``dense`` 0, 1, 2 ... (published) or where pretraining had
    them, ``interleaved`` 0, 2, 4 ...; the same for a single timestep.
    Raises ConfigError for a model whose states and actions are not a token each.
    """

    def __init__(
        self,
        model: SequenceModel,
        attend: Attend = "causal",
        blocks: int | None = None,
        placed: Literal["dense", "interleaved"] = "dense",
    ) -> None:
        super().__init__()
        if not isinstance(model, Autoencoder | Decoder):
            raise ConfigError(f"agents stand on an autoencoder or a decoder; found {type(model).__name__}")
        streams = [[model.layout.spec.factors[c].role for c in s.columns] for s in model.layout.streams]
        if streams != [["state"], ["action"]]:
            raise ConfigError(f"agents need one token of the state and one of the action a timestep; found {streams}")
        self.model, self.attend, self.placed = model, attend, placed
        default = None if isinstance(model, Autoencoder) else GPT_BLOCKS
        self.num_blocks = blocks or default

    @property
    def blocks(self) -> nn.ModuleList:
        """All blocks of the trunk."""
        model = self.model
        return (model.encoder if isinstance(model, Autoencoder) else model.trunk).blocks

    @property
    def width(self) -> int:
        embed = cast(nn.Linear, self.model.embed.streams[0])  # type: ignore[union-attr,index]
        return embed.out_features

    def forward(self, state: Tensor, action: Tensor | None = None) -> Tensor:
        """States ``(B, T, S)`` and actions ``(B, T, A)`` in model units; ``(B, T, D)`` at the state tokens, or at the action
        tokens where actions are given."""
        linear = self.model.embed.streams  # type: ignore[union-attr]
        x, t = linear[0](state), state.shape[1]  # type: ignore[index]
        if action is None:
            places = self.model.positions(2 * t)  # type: ignore[operator]
            x = x + (places[::2] if self.placed == "interleaved" else places[:t])
        else:
            x = torch.stack([x, linear[1](action)], 2).flatten(1, 2)  # type: ignore[index]
            x = x + self.model.positions(2 * t)  # type: ignore[operator]
        for block in list(self.blocks)[: self.num_blocks]:
            x = block(x, self.attend == "causal" and x.shape[1] > 1, None)
        return x if action is None else x[:, 1::2]


class Actor(nn.Module):
    """Deterministic policy ``(B, T, S) -> (B, T, A)`` in [-1, 1].

    LayerNorm, tanh, Linear, ReLU, Linear, tanh on the trunk; new layers are orthogonal.
    """

    def __init__(self, trunk: Trunk, action_size: int) -> None:
        super().__init__()
        d = trunk.width
        self.trunk = trunk
        self.head = nn.Sequential(nn.LayerNorm(d), nn.Tanh(), nn.Linear(d, d), nn.ReLU(), nn.Linear(d, action_size), nn.Tanh())
        orthogonal(self.head)

    def forward(self, state: Tensor) -> Tensor:
        answer: Tensor = self.head(self.trunk(state))
        return answer


class TwinHead(nn.Module):
    """LayerNorm, then two perceptrons: ``(B, T, D) -> (2, B, T)``."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d)
        self.first, self.second = (nn.Sequential(nn.Tanh(), nn.Linear(d, d), nn.ReLU(), nn.Linear(d, 1)) for _ in range(2))
        orthogonal(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return torch.stack([self.first(x), self.second(x)])[..., 0]


class Critic(nn.Module):
    """Two values of a state and an action, ``(2, B, T)``, and slowly following targets of them.

    target: what has a slow copy: ``heads`` alone, so that both share the trunk (published), or ``all``.
    """

    def __init__(self, trunk: Trunk, target: Literal["heads", "all"] = "heads") -> None:
        super().__init__()
        self.trunk, self.heads = trunk, TwinHead(trunk.width)
        self.target_heads = copy.deepcopy(self.heads).requires_grad_(False)
        self.target_trunk = copy.deepcopy(trunk).requires_grad_(False) if target == "all" else None

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        answer: Tensor = self.heads(self.trunk(state, action))
        return answer

    @torch.no_grad()
    def target(self, state: Tensor, action: Tensor) -> Tensor:
        """The slow copies' values ``(2, B, T)``."""
        trunk = self.trunk if self.target_trunk is None else self.target_trunk
        answer: Tensor = self.target_heads(trunk(state, action))
        return answer

    @torch.no_grad()
    def follow(self, rate: float) -> None:
        """Moves the slow copies by ``rate`` towards the learned weights."""
        pairs: list[tuple[nn.Module, nn.Module]] = [(self.target_heads, self.heads)]
        if self.target_trunk is not None:
            pairs.append((self.target_trunk, self.trunk))
        slow: list[Tensor] = [p for copied, _ in pairs for p in copied.parameters()]
        fast: list[Tensor] = [p for _, learned in pairs for p in learned.parameters()]
        torch._foreach_lerp_(slow, fast, rate)


class ActorCritic(nn.Module):
    """What is trained and saved: an actor and its critic, each on a trunk of its own."""

    def __init__(
        self,
        model: SequenceModel,
        attend: Attend = "causal",
        target: Literal["heads", "all"] = "heads",
        init: Init = "pretrained",
        freeze: Literal["none", "actor", "as_published"] = "none",
        placed: Literal["dense", "interleaved"] = "dense",
    ) -> None:
        """``model``: gives both trunks their weights; it is copied. ``init=orthogonal`` forgets them, biases zero: the
        publication's baseline from scratch. ``freeze``: the actor's trunk, or what the code freezes of a GPT: the actor's trunk
        and all of the critic's but the blocks in use (spec 3.4)."""
        super().__init__()
        actions = model.layout.spec.with_role("action")[0].width
        self.actor = Actor(Trunk(copy.deepcopy(model), attend, placed=placed), actions)
        self.critic = Critic(Trunk(copy.deepcopy(model), attend, placed=placed), target)
        if init == "orthogonal":
            orthogonal(self.actor)
            orthogonal(self.critic)
            self.critic.target_heads.load_state_dict(self.critic.heads.state_dict())
            if self.critic.target_trunk is not None:
                self.critic.target_trunk.load_state_dict(self.critic.trunk.state_dict())
        if freeze == "actor" or (freeze == "as_published" and isinstance(model, Decoder)):
            self.actor.trunk.requires_grad_(False)
        if freeze == "as_published" and isinstance(model, Decoder):
            self.critic.trunk.requires_grad_(False)
            for block in list(self.critic.trunk.blocks)[:GPT_BLOCKS]:
                block.requires_grad_(True)


def orthogonal(module: nn.Module) -> None:
    """Orthogonal weights and zero biases for every Linear below ``module``."""
    for m in module.modules():
        if isinstance(m, nn.Linear):
            nn.init.orthogonal_(m.weight)
            nn.init.zeros_(m.bias)
