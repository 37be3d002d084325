"""CSV files larger than memory: split, preprocessing and training batches, block by block."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tf_radogaga._core.frames import listed
from tf_radogaga._core.stack import tf
from tf_radogaga.datasets.csv_files import BLOCK_ROWS, Options, read_csv
from tf_radogaga.datasets.tabular import split_labels
from tf_radogaga.preprocessing import TableEncoding


class StreamedTable(NamedTuple):
    """A CSV file read in blocks of `block_rows`, of which memory holds one at a time.

    Each block is split in random halves by the seed, not stratified. The other fields are those of `read_table`.
    """

    path: str | Path
    label_column: str | None = None
    normal_label: str | None = None
    header: str = "auto"
    categorical: tuple[str, ...] = ()
    seed: int = 0
    block_rows: int = BLOCK_ROWS
    separator: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None

    def _read(self) -> Iterator[tuple[pd.DataFrame, dict[str, Any]]]:
        text = (*listed(self.categorical), *([self.label_column] if self.label_column else []))
        options = Options(self.header, self.separator, self.decimal, self.thousands, self.encoding)
        return read_csv(self.path, options, text, self.block_rows)

    def blocks(self) -> Iterator[tuple[pd.DataFrame, np.ndarray | None]]:
        first_row = 0
        for rows, _ in self._read():
            yield split_labels(rows, self.label_column, self.normal_label, first_row)
            first_row += len(rows)

    def halves(self) -> Iterator[tuple[pd.DataFrame, pd.DataFrame, np.ndarray | None]]:
        """Of each block: the normal rows of one half to train on, the other half to test on, and its labels."""
        for index, (rows, labels) in enumerate(self.blocks()):
            training = np.random.default_rng([self.seed, index]).permutation(len(rows)) < len(rows) // 2
            normal = training if labels is None else training & (labels == 0)
            yield rows[normal], rows[~training], None if labels is None else labels[~training]

    def training_rows(self) -> int:
        """How many rows there are to train on; reads the file once."""
        return sum(len(training) for training, _, _ in self.halves())

    def preprocessing(self) -> TableEncoding:
        """Min-max scaling and one-hot encoding adapted on all rows; reads the file once, and its first block again."""
        encoding = TableEncoding.for_table((rows for rows, _ in self.blocks()), self.categorical)
        _, encoding.reader = next(self._read())
        return encoding

    def training_batches(self, preprocess: TableEncoding, batch_size: int) -> tf.data.Dataset:
        """Raw training rows for `fit`: whole batches, shuffled within each block, anew at each pass.

        Rows that fill no batch wait for the next block; those of the last block are left to the next pass's order.
        """
        passes = itertools.count()

        def shuffled():
            rng = np.random.default_rng([self.seed, next(passes)])
            for rows, _, _ in self.halves():
                if len(rows):
                    yield preprocess.check(rows.iloc[rng.permutation(len(rows))])

        names = {served: column for column, served in preprocess.serving_names.items()}
        signature = {names[served]: spec for served, spec in preprocess.input_signature().items()}
        blocks = tf.data.Dataset.from_generator(shuffled, output_signature=signature)
        return blocks.rebatch(batch_size, drop_remainder=True)
