"""Parameters that change while a model trains and that exported graphs hold as constants."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import TypeVar

from tf_radogaga._core.stack import tf

_T = TypeVar("_T")
_exporting = contextvars.ContextVar("exporting", default=False)


@contextlib.contextmanager
def exporting() -> Iterator[None]:
    """Graphs traced within hold what `as_constant` is given as constants."""
    token = _exporting.set(True)
    try:
        yield
    finally:
        _exporting.reset(token)


def as_constant(compute: Callable[[], _T]) -> _T:
    """`compute()`, of parameters alone. Graphs that are exported hold its values and not its ops: factorizations and
    solves at every request are slow, and other runtimes than TensorFlow lack them."""
    if not _exporting.get():
        return compute()
    with tf.init_scope():
        return compute()
