"""How CSV files are read: decided once, told, and kept with the model that is trained on one.

Needs pandas alone: the scripts that score files where tf_radogaga is not installed load this folder by its path.
"""

from .frames import BLOCK_ROWS, read_csv
from .lines import COMPRESSIONS, DAMAGE, decompressed, plain_file
from .numbers import looks_like_number
from .reading import CsvFile, Options, Reader, add_arguments, opened

__all__ = [
    "BLOCK_ROWS",
    "COMPRESSIONS",
    "DAMAGE",
    "CsvFile",
    "Options",
    "Reader",
    "add_arguments",
    "decompressed",
    "looks_like_number",
    "opened",
    "plain_file",
    "read_csv",
]
