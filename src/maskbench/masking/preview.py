"""Pictures of a scheme: what is visible, what is predicted, and which token looks at which."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

import torch
from rich.console import Group, RenderableType
from rich.text import Text
from torch import Tensor

from maskbench.masking.scheme import MaskScheme, MaskSet
from maskbench.tokens.layout import TokenLayout

#: (visible, predicted) -> terminal glyph and style, SVG fill and stroke, meaning
CELLS = {
    (True, False): ("■", "blue", "#4878b6", "#4878b6", "visible"),
    (False, True): ("?", "bold dark_orange", "#fdf1e4", "#dd8452", "hidden, predicted"),
    (True, True): ("▣", "green", "#4878b6", "#dd8452", "visible and predicted"),
    (False, False): ("·", "bright_black", "#eceff3", "#d4d9e0", "hidden, not asked"),
}


@dataclass(frozen=True)
class Preview:
    """Masks of a few rows, ready to draw.

    visible_only: the model encodes visible tokens only (autoencoders), so hidden tokens take no part in its encoder.
    """

    title: str
    layout: TokenLayout
    masks: MaskSet
    visible_only: bool = False

    @classmethod
    def of(
        cls, title: str, scheme: MaskScheme, layout: TokenLayout, rows: int = 3, seed: int = 0, visible_only: bool = False
    ) -> Preview:
        """Draws ``rows`` masks; tasks that spread an index over the batch show it evenly."""
        masks = scheme.sample(torch.Generator().manual_seed(seed), rows, layout)
        return cls(title, layout, masks, visible_only)

    @property
    def rows(self) -> int:
        return self.masks.visible.shape[0]

    def cell(self, row: int, timestep: int, column: int) -> tuple[str, str, str, str, str]:
        return CELLS[bool(self.masks.visible[row, timestep, column]), bool(self.masks.predict[row, timestep, column])]

    def attention(self, row: int = 0) -> Tensor:
        """``(N, N)`` bool, row = the token that looks."""
        allowed = self.layout.attention(self.masks.attend)
        if self.visible_only:
            seen = self.layout.tokens_with(self.masks.visible)[row]
            allowed = allowed & seen[None] & seen[:, None]
        return allowed

    def token_names(self) -> list[str]:
        """One label a token, e.g. ``state 3``."""
        names = [s.name for s in self.layout.streams]
        pairs = zip(self.layout.token_streams.tolist(), self.layout.token_timesteps.tolist(), strict=True)
        return [f"{names[s]} {t}" for s, t in pairs]

    def terminal(self) -> RenderableType:
        """Grids of every row and, for up to 40 tokens, the attention matrix."""
        parts: list[RenderableType] = [Text(self.title, style="bold"), self._legend()]
        names = [f.name for f in self.layout.spec]
        wide = max(map(len, names))
        length = self.layout.length
        ruler = "".join(f"{t:<5}" for t in range(0, length, 5))[:length] if length > 10 else "".join(map(str, range(length)))
        for row in range(self.rows):
            lines = [Text(f"{'row ' + str(row):>{wide}}  {ruler}", style="bright_black")]
            for c, name in enumerate(names):
                cells = [self.cell(row, t, c)[:2] for t in range(length)]
                lines.append(Text.assemble(f"{name:>{wide}}  ", *cells))
            parts.append(Text("\n").join(lines))
        parts.append(self._attention_text())
        return Group(*parts)

    def _legend(self) -> Text:
        return Text("   ").join(Text.assemble((glyph, style), f" {meaning}") for glyph, style, _, _, meaning in CELLS.values())

    def _attention_text(self) -> RenderableType:
        note = " among visible tokens (row 0)" if self.visible_only else ""
        head = Text(f"attention: {self.masks.attend}{note}, {self.layout.num_tokens} tokens", style="bold")
        if self.layout.num_tokens > 40:
            return Group(head, Text("too many tokens to draw here; the SVG holds the matrix", style="bright_black"))
        names, width = self.token_names(), max(map(len, self.token_names()))
        lines = ["".join("█" if a else "·" for a in row) for row in self.attention().tolist()]
        body = "\n".join(f"{n:>{width}}  {line}" for n, line in zip(names, lines, strict=True))
        return Group(head, Text(body))

    def svg(self) -> str:
        """A standalone SVG document."""
        size, left, top = 18, 110, 58
        length, factors, n = self.layout.length, list(self.layout.spec), self.layout.num_tokens
        block = size * len(factors) + 34
        small = max(2, min(12, 360 // n))
        right = left + size * length + 60
        width, height = right + small * n + 150, top + max(block * self.rows, small * n + 60) + 30
        out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            'font-family="system-ui, sans-serif" font-size="12" fill="#2b2f36">',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            f'<text x="16" y="26" font-size="16" font-weight="600">{escape(self.title)}</text>',
        ]
        for row in range(self.rows):
            y0 = top + block * row
            for c, factor in enumerate(factors):
                out.append(_label(left - 8, y0 + size * c + 13, factor.name, 11, anchor="end"))
                for t in range(length):
                    _, _, fill, stroke, meaning = self.cell(row, t, c)
                    out.append(_box(left + size * t, y0 + size * c, size - 3, fill, stroke, f"{factor.name} {t}: {meaning}"))
            for t in range(0, length, max(1, length // 16)):
                out.append(_label(left + size * t + 7, y0 + size * len(factors) + 11, str(t), 9, "#8a919c", "middle"))
        out += self._svg_attention(right, top, small)
        out += self._svg_legend(16, height - 14)
        return "\n".join([*out, "</svg>"]) + "\n"

    def _svg_attention(self, x0: int, y0: int, small: int) -> list[str]:
        allowed, names = self.attention(), self.token_names()
        note = ", visible tokens of the first row" if self.visible_only else ""
        out = [_label(x0, y0 - 12, f"attention: {self.masks.attend}{note}", 12)]
        size = small - (small > 4)
        for i, row in enumerate(allowed.tolist()):
            for j, looks in enumerate(row):
                meaning = f"{names[i]} looks at {names[j]}: {'yes' if looks else 'no'}"
                out.append(_box(x0 + small * j, y0 + small * i, size, "#4878b6" if looks else "#eceff3", None, meaning))
        for i in range(0, len(names), max(1, -(-10 // small))):
            x, y = x0 + small * len(names) + 6, y0 + small * i + min(small, 9)
            out.append(_label(x, y, names[i], min(10, max(7, small)), "#8a919c"))
        return out

    def _svg_legend(self, x: int, y: int) -> list[str]:
        out = []
        for _, _, fill, stroke, meaning in CELLS.values():
            out += [_box(x, y - 11, 12, fill, stroke, meaning), _label(x + 18, y, meaning, 11)]
            x += 36 + 7 * len(meaning)
        return out


def _box(x: int, y: int, size: int, fill: str, stroke: str | None, meaning: str) -> str:
    edge = f' rx="3" stroke="{stroke}" stroke-width="2"' if stroke else ""
    place = f'x="{x}" y="{y}" width="{size}" height="{size}"'
    return f'<rect {place} fill="{fill}"{edge}><title>{escape(meaning)}</title></rect>'


def _label(x: int, y: int, text: str, size: int, fill: str = "#2b2f36", anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="{fill}">{escape(text)}</text>'
