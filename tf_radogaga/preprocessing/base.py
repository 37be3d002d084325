"""What every preprocessing layer offers to models and to exports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tf_radogaga._core.stack import keras, tf

register = keras.utils.register_keras_serializable(package="tf_radogaga")


def is_symbolic(value: Any) -> bool:
    return tf.is_tensor(value) and not isinstance(value, tf.__internal__.EagerTensor)


class Preprocessing(keras.layers.Layer):
    """Base class. `width` is the number of elements M of x.

    Attributes:
        column_names: names of the input columns, in the order of the served inputs, None where they have none.
        reader: how the file of the training rows was read (separator, decimal, header, ...), plain values for JSON;
            None where nobody tells.
    """

    width: int
    # Keras tracks no attribute that the class has, so these are no part of a checkpoint
    column_names: list[str] | None = None
    reader: dict[str, Any] | None = None

    def __init__(self, name: str | None = None, **kwargs: Any):
        super().__init__(name=name, **{"dtype": tf.float32, **kwargs})  # raw rows lose too much in float16

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one x."""
        return (self.width,)

    def check(self, rows: Any, first_row: int = 0) -> Any:
        """Raw rows as tensors for `call`. Symbolic tensors pass unchecked: a graph marks bad rows by `valid`.

        Args:
            rows: what the user holds.
            first_row: number of the first of these rows, for messages.

        Raises:
            TypeError: wrong kind of values, naming column and row.
            ValueError: wrong width or names, no rows, or a missing or non-finite number, naming column and row.
        """
        raise NotImplementedError

    def stored(self, rows: Any) -> tf.Tensor:
        """Checked rows as they stay in memory while training, (B, ...); `restored` makes x of them."""
        return self(rows)

    def restored(self, stored: tf.Tensor) -> tf.Tensor:
        """x of what `stored` gave."""
        return stored

    def input_signature(self) -> dict[str, tf.TensorSpec]:
        """Name and type of every input of a served graph."""
        raise NotImplementedError

    def from_inputs(self, inputs: Mapping[str, tf.Tensor]) -> Any:
        """The named inputs of `input_signature` as one argument for `call`."""
        raise NotImplementedError

    def to_inputs(self, rows: Any) -> dict[str, tf.Tensor]:
        """Checked rows as the named inputs of `input_signature`; undoes `from_inputs`."""
        raise NotImplementedError

    def valid(self, rows: Any) -> tf.Tensor:
        """(B,) bool: every feature of the row is finite."""
        raise NotImplementedError

    def fill(self, rows: Any, valid: tf.Tensor) -> Any:
        """The same rows with zeros in place of the invalid ones."""
        raise NotImplementedError

    def marked(self, rows: Any, known: tf.Tensor | bool = True) -> tuple[tf.Tensor, tf.Tensor]:
        """x of unchecked rows in a graph, and which of them are valid, (B,); of those that are not, x is of zeros.

        Args:
            rows: as `check` returns them.
            known: (B,) bool, false for rows that are not valid for another reason.
        """
        valid = self.valid(rows) & known
        return self(self.fill(rows, valid)), valid

    def get_config(self) -> dict:
        return {} if self.reader is None else {"reader": self.reader}
