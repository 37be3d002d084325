"""A table, as `records.measure` takes them, whose records tell which process made them."""

import os
import sys
import time
from pathlib import Path

from tf_radogaga_trainers.reproduce import records

KEY = ("number",)


def key(number, seconds):
    return (number,)


def run(number, seconds):
    print(os.getpid(), flush=True)
    time.sleep(seconds)
    return {"number": number, "process": os.getpid()}


if __name__ == "__main__":
    from helpers import process_table

    records.measure(process_table, [(0, 600.0)], Path(sys.argv[1]), 1)
