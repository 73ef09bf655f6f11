"""What training on text games needs, and what needs text games."""

from __future__ import annotations

from maskbench.app.config.combinations.models import schemes
from maskbench.app.config.decode import KeyMistake
from maskbench.app.config.schema import TrainConfig
from maskbench.app.config.schema_masking import TextScheme
from maskbench.app.config.schema_model import LanguageModel


def text_goes_with_text(c: TrainConfig) -> None:
    """Text games are learnt by a text scheme and a language model, and nothing else is."""
    scheme, model = type(c.masking.train), type(c.model)
    kinds = {type(s) for s in schemes(c.masking.train)}
    if c.env.text and kinds != {TextScheme}:
        raise KeyMistake("masking", f"env={c.env.name} is a text game; expected masking=text_bc or another text_* scheme")
    if c.env.text and model is not LanguageModel:
        raise KeyMistake("model", f"env={c.env.name} is a text game; expected model=text_gpt_s or another text_gpt_*")
    if not c.env.text and (TextScheme in kinds or model is LanguageModel):
        key = "masking" if scheme is TextScheme else "model"
        raise KeyMistake(key, f"env={c.env.name} is no text game, which this {key} is for")
    if c.env.text and c.experiment.num_cv_runs > 1:
        raise KeyMistake("experiment.num_cv_runs", "text models are trained one at a time; give experiment.seed")


def text_can_be_read(c: TrainConfig) -> None:
    """Fresh kitchens, stored rollouts, or both."""
    if c.text.kitchen < 1 and c.dataset.path is None:
        found = f"text.kitchen={c.text.kitchen:g}"
        raise KeyMistake("dataset.path", f"{found} leaves a share to stored rollouts; give their folder, e.g. data/text/expert")
