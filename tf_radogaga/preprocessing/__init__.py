"""From raw rows to x: Keras layers that are adapted on data, saved and served with the model. Core ops only.

Every layer takes part in three places: `check` turns what a user holds into tensors or raises an error that names
the column and the row; `call` is the map itself; `input_signature`, `valid` and `fill` let a served graph mark a bad
row without touching its neighbours.
"""

from tf_radogaga.preprocessing.base import Preprocessing, is_symbolic, register
from tf_radogaga.preprocessing.images import ImageScaling
from tf_radogaga.preprocessing.matrices import MinMaxScaling, PassThrough
from tf_radogaga.preprocessing.tables import TableEncoding

__all__ = ["ImageScaling", "MinMaxScaling", "PassThrough", "Preprocessing", "TableEncoding", "is_symbolic", "register"]
