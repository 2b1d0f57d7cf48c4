"""faiss IndexFlatIP over the rows of a file, and what this machine reads from memory.

    python faiss_search.py ROWS COLUMNS FILE     float32, row-major
"""
import sys
import time

import faiss
import numpy as np

from peer import serve, versions

rows, columns = int(sys.argv[1]), int(sys.argv[2])
gallery = np.fromfile(sys.argv[3], dtype=np.float32).reshape(rows, columns)
index = faiss.IndexFlatIP(columns)
index.add(gallery)


def search(queries, k, repeat=1):
    """`queries`: path of float32 rows."""
    q = np.fromfile(queries, dtype=np.float32).reshape(-1, columns)
    start = time.perf_counter()
    for _ in range(repeat):
        _, found = index.search(q, k)
    return {"seconds": time.perf_counter() - start, "items": len(q) * repeat}


def best(queries, k):
    """The rows found, for a look at whether both answer the same."""
    q = np.fromfile(queries, dtype=np.float32).reshape(-1, columns)
    return {"indices": index.search(q, k)[1].tolist()}


serve({"search": search, "best": best}, versions("faiss-cpu", "numpy"))
