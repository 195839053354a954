"""Which weights a stage ends with: the last, their moving average, or the best on held-out images.

A recipe that asks for neither of these ends with the last, and nothing here does any work.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from granularity import files
from granularity.training.recipe import Recipe


class FinalWeights:
    """What a run keeps of its weights beside the last; a checkpoint has it all."""

    def __init__(self, recipe: Recipe, model: nn.Module):
        """Starts a moving average, by timm, of `model`: the network without what wraps it."""
        self.recipe, self.model = recipe, model
        self.average = ModelEmaV3(model, decay=recipe.ema) if recipe.ema else None
        self.errors: list[tuple[int, float]] = []  # on held-out images: (steps done, error)
        self.best: dict[str, Tensor] = {}

    @property
    def candidate(self) -> nn.Module:
        """The network that would be used if the run ended now."""
        return self.average.module if self.average else self.model

    @property
    def waited(self) -> int:
        """Evaluations since the one with the lowest error."""
        errors = [error for _, error in self.errors]
        return len(errors) - 1 - errors.index(min(errors)) if errors else 0

    @property
    def stopped(self) -> bool:
        """Whether the error has not fallen for as many evaluations as the recipe waits."""
        return bool(self.recipe.early_stopping) and self.waited >= self.recipe.early_stopping

    def due(self, done: int) -> bool:
        """Whether the held-out images are looked at after so many steps."""
        return bool(self.recipe.evaluate_every) and done % self.recipe.evaluate_every == 0

    def step(self, done: int) -> None:
        """Takes the weights after `done` steps into the average."""
        if self.average:
            self.average.update(self.model, step=done)

    def judge(self, done: int, error: float) -> None:
        """Notes the error of the candidate after `done` steps; keeps its weights if it is lower."""
        if error < min((before for _, before in self.errors), default=math.inf):
            self.best = {name: v.clone() for name, v in self.candidate.state_dict().items()}
        self.errors.append((done, error))

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint: `average.<name>` and `best.<name>`."""
        average = self.average.module.state_dict() if self.average else {}
        told = {"average": average, "best": self.best}
        return {f"{part}.{name}": v for part, some in told.items() for name, v in some.items()}

    def facts(self) -> dict:
        """For a checkpoint, JSON-plain."""
        return {"held_out": self.errors} if self.errors else {}

    def restore(self, parts: Mapping[str, Mapping[str, Tensor]], facts: Mapping) -> None:
        """Takes up what `tensors` and `facts` told; `parts` are a checkpoint's tensors by part.

        Raises RuntimeError where they are of another network.
        """
        self.candidate.load_state_dict(parts["average"] or parts["model"])
        device = next(self.model.parameters()).device
        self.best = {name: value.to(device) for name, value in parts["best"].items()}
        self.errors = [(step, error) for step, error in facts.get("held_out", [])]

    def put(self) -> None:
        """Gives the network the weights that the run ends with."""
        if self.best or self.average:
            self.model.load_state_dict(self.best or self.average.module.state_dict())

    def write(self, path: Path) -> None:
        """Writes the held-out errors, a line of JSON each."""
        lines = [{"step": step, "held_out_error": error} for step, error in self.errors]
        files.write(path, "".join(f"{json.dumps(line)}\n" for line in lines))
