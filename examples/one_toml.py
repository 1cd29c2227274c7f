"""One file for every loop: your own, and those of scikit-learn, which knows nothing of parallelcfg.

    python examples/one_toml.py
    PARALLEL_BACKEND=threading python examples/one_toml.py
    PARALLEL_MAX_JOBS=1 python examples/one_toml.py

scikit-learn's loops are joblib's. With the bridge installed, they take what they leave open from where
`Parallel` takes it: from `one_toml.toml` beside this file, or from variables, which stand above it. The
scores are the same whoever computes them.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from parallelcfg import Parallel, delayed, explain, reload
from parallelcfg.integrations import joblib as bridge

if find_spec("sklearn") is None:
    print("skipped: this example needs scikit-learn (pip install scikit-learn)")
    sys.exit()

from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV


def spread(column: list[float]) -> float:
    """The work of our own loop."""
    return max(column) - min(column)


def main() -> None:
    """Run four loops of three libraries."""
    os.environ.setdefault("PARALLEL_CONFIG", str(Path(__file__).with_suffix(".toml")))
    reload()
    bridge.install()  # `parallelcfg run PROGRAM` and PARALLEL_JOBLIB=1 do this without a line of code

    data, labels = make_classification(n_samples=300, n_features=8, random_state=0)

    search = GridSearchCV(LogisticRegression(), {"C": [0.01, 0.1, 1.0, 10.0]}, cv=3).fit(data, labels)
    print(f"grid search    best C = {search.best_params_['C']}, score {search.best_score_:.4f}")

    forest = RandomForestClassifier(20, random_state=0).fit(data, labels)
    print(f"random forest  score {forest.score(data, labels):.4f}")

    importance = permutation_importance(forest, data, labels, n_repeats=3, random_state=0)
    print(f"importance     of feature {importance.importances_mean.argmax()} is the greatest")

    loop = Parallel()
    widest = max(loop(delayed(spread)(column) for column in data.T.tolist()))
    print(f"our own loop   widest column {widest:.4f}, {loop}")

    print(f"\n{explain('n_jobs')}")


if __name__ == "__main__":
    main()
