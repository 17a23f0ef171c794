"""Distributed k-means: one Allreduce of centroid sums and counts an epoch (the workload of FMI and LambdaML).

Run it with ``fmirun -n 4 python examples/kmeans.py``. The data are the 1,797 handwritten digits (64 pixels each) that
scikit-learn ships. Each rank holds every n-th image. Rank 0 repeats the computation alone and compares.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from fmi_mpi import MPI

CLUSTERS = 10
EPOCHS = 20


def assign(points: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, float]:
    """Return centroid sums with counts in the last column, and the inertia of ``points``."""
    distances = ((points[:, None, :] - centroids) ** 2).sum(axis=2)
    nearest = distances.argmin(axis=1)
    sums = np.zeros((len(centroids), points.shape[1] + 1))
    np.add.at(sums[:, :-1], nearest, points)
    sums[:, -1] = np.bincount(nearest, minlength=len(centroids))
    return sums, float(distances[np.arange(len(points)), nearest].sum())


def cluster(points: np.ndarray, start: np.ndarray, comm: MPI.Intracomm, report: bool) -> np.ndarray:
    """Return the centroids after all epochs; ``points`` are this rank's share."""
    centroids = start.copy()
    for epoch in range(EPOCHS):
        sums, inertia = assign(points, centroids)
        comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
        total = comm.allreduce(inertia)
        counts = sums[:, -1:]
        centroids = np.where(counts > 0, sums[:, :-1] / np.maximum(counts, 1), centroids)
        if report:
            print(f"epoch {epoch + 1:2d}: inertia {total:.1f}", flush=True)
    return centroids


def main() -> None:
    comm = MPI.COMM_WORLD
    digits = load_digits().data if comm.rank == 0 else None
    digits = comm.bcast(digits)
    start = digits[:CLUSTERS]
    centroids = cluster(digits[comm.rank :: comm.size], start, comm, comm.rank == 0)
    if comm.rank == 0:
        alone = cluster(digits, start, MPI.COMM_SELF, False)
        difference = np.abs(centroids - alone).max()
        print(f"{comm.size} ranks and one process agree to {difference:.1e}")
        if difference > 1e-8:
            raise SystemExit("the distributed result differs from the single process's")


if __name__ == "__main__":
    main()
