"""Charts: coordinates of rows on the curved surface they lie on, from nothing but the rows.

Shortest paths through a graph of neighbours are unfolded into a plane, step by step, each tangent plane turned onto the
one before. So a path around a hole is no longer than the straight line, and developable surfaces come out flat.
Source: Budninskiy et al., Parallel transport unfolding, SIAM J. Appl. Algebra Geometry 2019.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree
from sklearn.decomposition import KernelPCA
from sklearn.neighbors import NearestNeighbors, kneighbors_graph

GRAPH_ROWS, LANDMARKS = 3000, 100
"""Rows at which paths are sought, and from which, at most."""

NEIGHBOURS = 10
"""Of each row. The graph joins two rows where each is a neighbour of the other, to avoid shortcuts between turns."""

CORE = 0.95
"""Share of the rows that go into the graph, the densest; in thin tails neighbours may lie on other turns."""

NOISE_NEIGHBOURS, NOISE_ROWS = 60, 1000
"""Of each row, and rows, by which the noise off the surface is measured."""

BRIDGED = 0.02
"""Separate parts of the graph are joined to the largest where they hold at least this share of its rows."""


def chart(x: np.ndarray, units: int, seed: int = 0) -> np.ndarray:
    """Coordinates (n, units) of rows x (n, M): an isometric copy where the surface is developable, else near one.

    Args:
        x: all columns in one unit.
        units: N, the dimension of the surface.
        seed: of the rows that are taken where there are many.
    """
    rng = np.random.default_rng(seed)
    core = np.unique(x, axis=0, return_index=True)[1]  # equal rows are one row
    core = rng.permutation(core)[:GRAPH_ROWS]
    plane = min(5 * (units + 1), len(core))
    reach = NearestNeighbors(n_neighbors=min(NEIGHBOURS + 1, len(core) - 1)).fit(x[core]).kneighbors()[0][:, -1]
    core = core[reach <= np.quantile(reach, CORE)]
    graph, inside = _graph(x[core])
    core, graph = core[inside], _narrow(graph[inside][:, inside])
    near = NearestNeighbors(n_neighbors=min(plane, len(core))).fit(x[core]).kneighbors(x[core], return_distance=False)
    sources = rng.permutation(len(core))[:LANDMARKS].astype(np.int32)
    moves = unfolded(x[core], graph, tangent_planes(x[core], near, units), sources)
    distances = np.linalg.norm(moves, axis=2)
    among = (distances[:, sources] + distances[:, sources].T) / 2
    scaling = KernelPCA(units, kernel="precomputed", eigen_solver="dense").fit(-0.5 * among**2)
    y = np.full((len(x), units), np.nan)
    y[core] = scaling.transform(-0.5 * distances.T**2)
    return extended(x, y, float(np.median(reach)))


def _narrow(graph: csr_matrix) -> csr_matrix:
    """With the int32 indices that SciPy's paths want."""
    graph = graph.tocsr()
    graph.indices, graph.indptr = graph.indices.astype(np.int32), graph.indptr.astype(np.int32)
    return graph


def _graph(x: np.ndarray) -> tuple[csr_matrix, np.ndarray]:
    """Distances between mutual neighbours, (n, n), and the rows of its largest part and of those that are bridged."""
    directed = kneighbors_graph(x, min(NEIGHBOURS, len(x) - 1), mode="distance")
    graph = _narrow(directed.minimum(directed.T))
    part = connected_components(graph, directed=False)[1]
    sizes = np.bincount(part)
    joined = part == sizes.argmax()
    for other in np.argsort(-sizes)[1:]:
        if sizes[other] < BRIDGED * len(x):
            break
        rows, own = np.flatnonzero(part == other), np.flatnonzero(joined)
        distance, near = cKDTree(x[own]).query(x[rows])
        closest = distance.argmin()
        a, b = rows[closest], own[near[closest]]
        bridge = csr_matrix((2 * [distance[closest]], ([a, b], [b, a])), graph.shape)
        graph, joined = _narrow(graph + bridge), joined | (part == other)
    return graph, np.flatnonzero(joined)


def tangent_planes(x: np.ndarray, near: np.ndarray, units: int) -> np.ndarray:
    """Orthonormal directions (n, units, M) in which the rows x[near] (n, k, M) of each row spread most."""
    planes = []
    for part in np.array_split(near, max(len(near) // 500, 1)):
        spread = x[part] - x[part].mean(axis=1, keepdims=True)
        planes.append(np.linalg.svd(spread, full_matrices=False)[2][:, :units])
    return np.concatenate(planes)


def noise_share(x: np.ndarray, units: int, seed: int = 0) -> float:
    """Share of the variance of rows x (n, M) that lies off the tangent planes of their surface of `units` dimensions.

    The median over rows, so a few of them do not matter. A dimension thinner than neighbours are far counts too. Up to
    a third too low, since neighbours are alike in noise.
    """
    around = max(min(NOISE_NEIGHBOURS, len(x) // 20), 2 * (units + 1))
    queries = np.random.default_rng(seed).permutation(len(x))[:NOISE_ROWS]
    near = NearestNeighbors(n_neighbors=around).fit(x).kneighbors(x[queries], return_distance=False)
    off = []
    for part in np.array_split(near, max(len(near) // 100, 1)):
        spread = x[part] - x[part].mean(axis=1, keepdims=True)
        off.append(np.sum(np.linalg.svd(spread, compute_uv=False)[:, units:] ** 2, axis=1))
    return float(np.median(np.concatenate(off)) / (around - 1 - units) / x.var(axis=0, dtype=np.float64).sum())


def unfolded(x: np.ndarray, graph: csr_matrix, planes: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Where each row lies from each source, in its tangent plane, (sources, n, units).

    Args:
        x: (n, M).
        graph: (n, n), distances between neighbours; connected.
        planes: (n, units, M), as of `tangent_planes`.
        sources: rows, (sources,) int32.
    """
    distances, parents = dijkstra(graph, directed=False, indices=sources, return_predecessors=True)
    count, units, each = len(sources), planes.shape[1], np.arange(len(sources))
    moves, turns = np.zeros((count, len(x), units)), np.zeros((count, len(x), units, units))
    turns[each, sources] = np.eye(units)
    depth = np.zeros((count, len(x)), int)
    for row in np.argsort(distances, axis=1).T[1:]:  # nearer ones first, so each after its parent
        depth[each, row] = depth[each, parents[each, row]] + 1
    for level in range(1, depth.max() + 1):
        source, row = np.nonzero(depth == level)
        parent = parents[source, row]
        step, (left, _, right) = x[row] - x[parent], np.linalg.svd(planes[parent] @ np.swapaxes(planes[row], 1, 2))
        turn = left @ right
        seen = planes[parent] @ step[:, :, None] + turn @ planes[row] @ step[:, :, None]  # from both ends
        moves[source, row] = moves[source, parent] + (turns[source, parent] @ seen / 2)[:, :, 0]
        turns[source, row] = turns[source, parent] @ turn
    return moves


def extended(x: np.ndarray, y: np.ndarray, reach: float) -> np.ndarray:
    """y (n, units) where the rows that hold NaN are filled in, those near a known row first.

    Each takes the linear map from x to y that fits the known rows around its nearest known row. These are chosen by
    their distance in y, so that they lie on the same turn of a roll.

    Args:
        reach: distance in x within which rows are filled in at once.
    """
    y, units = y.copy(), y.shape[1]
    while (unknown := np.flatnonzero(np.isnan(y[:, 0]))).size:
        known = np.flatnonzero(~np.isnan(y[:, 0]))
        distance, near = (found[:, 0] for found in NearestNeighbors(n_neighbors=1).fit(x[known]).kneighbors(x[unknown]))
        now = distance <= max(reach, 1.3 * distance.min())
        parents, of = np.unique(known[near[now]], return_inverse=True)
        around = known[cKDTree(y[known]).query(y[parents], k=min(3 * NEIGHBOURS, len(known)))[1]]
        centre_x, centre_y = x[around].mean(axis=1), y[around].mean(axis=1)
        planes = tangent_planes(x, around, units)
        flat = (x[around] - centre_x[:, None]) @ np.swapaxes(planes, 1, 2)
        slope = np.linalg.pinv(flat) @ (y[around] - centre_y[:, None])
        rows = unknown[now]
        step = planes[of] @ (x[rows] - centre_x[of])[:, :, None]
        y[rows] = centre_y[of] + (np.swapaxes(slope[of], 1, 2) @ step)[:, :, 0]
    return y
