"""Levels that are one but for the way they are written: spaces around them, integral numbers, bools and dates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import tensorflow as tf

_FORMS = (
    (r"\A[\s\v\pZ]+|[\s\v\pZ\x00]+\z", ""),
    (r"\A([+-]?[0-9]+)\.0*\z", r"\1"),
    (r"\A\+([0-9]+)\z|\A-(0+)\z", r"\1\2"),
    (r"\A([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]00:00:00(?:\.0+)?\z", r"\1"),  # pandas leaves midnights out of files
    (r"\A(?i:true)\z", "1"),
    (r"\A(?i:false)\z", "0"),
)
"""Regular expressions of RE2, and what stands for them."""


def canonical(texts: tf.Tensor) -> tf.Tensor:
    """One text for all writings of a level: "blue" for "blue ", "1" for "1.0", "+1", "True" and "true", (B,)."""
    for pattern, text in _FORMS:
        texts = tf.strings.regex_replace(texts, pattern, text)
    return texts


def spellings(levels: Sequence[str]) -> list[str]:
    """The canonical text of each level; for those of one text, such as "a" and "a ", one that no writing has: they are
    told apart by the letter alone."""
    with tf.init_scope():
        texts = [text.decode() for text in canonical(tf.constant(list(levels), tf.string)).numpy()]
    count = Counter(texts)
    return [text if count[text] == 1 else f"{place} " for place, text in enumerate(texts)]
