"""What a model remembers beside its weights and its configuration, as JSON types: kept by saving and by copying."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tf_radogaga.training.loop import TrainedOnRows

ATTRIBUTES = {
    "straightening": "",
    "threshold_on": "",
    "_shuffle_seed": "",
    "term_names": "steps",
    "adaptation": "prior",
}
"""Name of each, and the part of the model that has it."""


RENAMED = {"judged_by": "threshold_on", "_term_names": "term_names"}
"""Names in files of earlier versions."""


def remembered(model: TrainedOnRows) -> dict[str, Any]:
    """Copies of the attributes that this model has, by name."""
    parts = {name: getattr(model, part) if part else model for name, part in ATTRIBUTES.items()}
    return {name: _plain(getattr(part, name)) for name, part in parts.items() if hasattr(part, name)}


def _plain(value: Any) -> Any:
    """Without Keras' wrappers."""
    if isinstance(value, dict):
        return dict(value)
    return list(value) if isinstance(value, list) else value


def remember(model: TrainedOnRows, values: dict[str, Any]) -> None:
    """Gives them to another model; names that this version does not know are left out."""
    values = {RENAMED.get(name, name): value for name, value in values.items()}
    for name in ATTRIBUTES.keys() & values.keys():
        setattr(getattr(model, ATTRIBUTES[name]) if ATTRIBUTES[name] else model, name, values[name])
