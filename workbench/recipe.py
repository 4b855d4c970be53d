"""How a model is trained: the settings of a fine-tuned contender that its training alone depends on."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

Method = Literal["lora", "qlora", "full"]
Schedule = Literal["cosine", "linear", "constant"]
Switch = Literal["auto", "on", "off"]
StopOn = Literal["dev_loss", "primary"]


def _said(value: Any) -> Any:
    return ("off", "on")[value] if isinstance(value, bool) else value


# YAML reads a bare on as true and off as false.
_Switch = Annotated[Switch, BeforeValidator(_said)]

_FUNCTION = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"
# Of an adapter: one that is trained further has its own, and a model that is trained whole has none.
_ADAPTER = ("rank", "alpha", "dropout", "dora", "rslora", "target_modules", "modules_to_save")
# Came after runs had been made: no part of what a run is known by while they are what had always been done.
_LATER = (
    *("continue_from", "dropout", "dora", "rslora", "target_modules", "modules_to_save"),
    *("schedule", "warmup_ratio", "weight_decay", "patience"),
    *("gradient_accumulation", "gradient_checkpointing", "packing"),
    *("stop_on", "loss", "allow_code"),
)


class Recipe(BaseModel):
    """What a training is, apart from model and data. Defaults are the field's: all linear layers, cosine, 3 % warm-up."""

    method: Method = "lora"
    """qlora: a LoRA adapter on a base of 4 bits, for little memory; full: all weights."""
    epochs: Annotated[float, Field(gt=0)] = 2
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    """1e-5 where all weights train and none is given."""
    rank: Annotated[int, Field(gt=0)] = 16
    alpha: Annotated[int, Field(gt=0)] = 32
    batch_size: Annotated[int, Field(gt=0)] = 8
    """Rows a micro-batch, packed or not; a step takes `gradient_accumulation` of them."""
    max_length: Annotated[int, Field(gt=0)] = 1024
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 7
    continue_from: str | None = None
    """An adapter folder to train further; its rank, alpha and modules stand."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    dora: bool = False
    rslora: bool = False
    target_modules: tuple[str, ...] = ()
    """Names of linear layers to adapt; all of them but the head where none are given."""
    modules_to_save: tuple[str, ...] = ()
    """Names of modules to train whole beside the adapter."""
    schedule: Schedule = "cosine"
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.03
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    gradient_accumulation: Annotated[int, Field(gt=0)] = 1
    gradient_checkpointing: _Switch = "auto"
    packing: _Switch = "auto"
    """Rows side by side in one sequence, without padding; never where the model lets them see each other."""
    patience: Annotated[int, Field(gt=0)] | None = None
    """Epochs without a better `stop_on` after which training ends."""
    stop_on: StopOn = "dev_loss"
    """What makes an epoch the best: the loss on dev, or the primary metric, for which dev is answered each epoch."""
    loss: str | None = None
    """A loss of one's own instead of cross-entropy, as `package.module:function` (training/own_loss.py)."""
    allow_code: bool = False
    """Said beside `loss`: the function is code that runs inside the training."""

    @model_validator(mode="before")
    @classmethod
    def _gentle_where_all_weights_train(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("method") == "full":
            return {"learning_rate": 1e-5, **given}
        return given

    @model_validator(mode="after")
    def _adapter_settings_need_an_adapter(self) -> Recipe:
        # By value: settings read back from a run folder name all of them.
        fields = Recipe.model_fields
        given = [name for name in _ADAPTER if getattr(self, name) != fields[name].default]
        if self.method == "full" and (given or self.continue_from is not None):
            names = [*given, *(["continue_from"] if self.continue_from is not None else [])]
            raise ValueError(f"method: full trains no adapter: leave out {', '.join(names)}")
        if self.continue_from is not None and given:
            raise ValueError(
                f"continue_from goes on with the adapter's own settings: leave out {', '.join(given)}"
            )
        return self

    @model_validator(mode="after")
    def _code_is_allowed(self) -> Recipe:
        if self.loss is not None and not re.fullmatch(_FUNCTION, self.loss):
            raise ValueError(
                f"loss: {self.loss!r} names no function: module:function is needed, as losses:focal for focal in "
                "losses.py beside this file. Losses that have a name of their own, as dpo, are not trained here"
            )
        if self.loss is not None and not self.allow_code:
            raise ValueError(
                f"loss: {self.loss} is code that would run inside the training: write allow_code: true beside it "
                "if you trust it"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        fields = Recipe.model_fields
        usual = {name for name in _LATER if getattr(self, name) == fields[name].default}
        return {name: value for name, value in written.items() if name not in usual}
