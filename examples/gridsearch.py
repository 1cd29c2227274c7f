"""A grid search of scikit-learn, which knows nothing of parallelcfg, on whatever the environment names.

    PARALLEL_N_JOBS=-1 parallelcfg run examples/gridsearch.py
    PARALLEL_N_JOBS=-1 PARALLEL_BACKEND=ray parallelcfg run examples/gridsearch.py
    export PARALLEL_BACKENDS__DASK__ADDRESS=tcp://head:8786
    PARALLEL_N_JOBS=-1 PARALLEL_BACKEND=dask parallelcfg run examples/gridsearch.py

The search leaves ``n_jobs`` open, and so the configuration decides. The figures are the same everywhere.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

if find_spec("sklearn") is None:
    print("skipped: this example needs scikit-learn (pip install scikit-learn)")
    sys.exit()

from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV


def main() -> None:
    """Search, and print what was found."""
    data, labels = make_classification(n_samples=400, n_features=20, random_state=0)
    grid = {"C": [0.01, 0.1, 1.0, 10.0], "fit_intercept": [True, False]}
    search = GridSearchCV(LogisticRegression(), grid, cv=3)
    search.fit(data, labels)
    for parameters, score in zip(
        search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
    ):
        print(f"{score:.6f}  {parameters}")
    print(f"best: {search.best_params_}")


if __name__ == "__main__":
    main()
