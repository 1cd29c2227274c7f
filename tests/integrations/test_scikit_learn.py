"""scikit-learn gives the same scores with the bridge and without."""

import joblib
import numpy as np
import pytest

import parallelcfg
from parallelcfg import parallel_config
from parallelcfg.integrations.joblib import install, last_call, uninstall

pytest.importorskip("sklearn")

from sklearn.cluster import KMeans
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.tree import DecisionTreeClassifier

X, Y = make_classification(n_samples=200, n_features=8, random_state=0)


def forest():
    return RandomForestClassifier(n_estimators=12, random_state=0, n_jobs=-1)


def grid_search():
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [2, 4]}, n_jobs=2, cv=3)
    return search.fit(X, Y).cv_results_["mean_test_score"]


def cross_validation():
    return cross_validate(forest(), X, Y, n_jobs=2, cv=3)["test_score"]


def random_forest():
    fitted = forest().fit(X, Y)
    return np.vstack([fitted.predict_proba(X)[:, 0], fitted.feature_importances_.repeat(25)])


def k_means():
    return KMeans(3, n_init=2, random_state=0).fit(X).cluster_centers_


def importance():
    fitted = DecisionTreeClassifier(random_state=0).fit(X, Y)
    return permutation_importance(fitted, X, Y, n_repeats=3, random_state=0, n_jobs=-1).importances


@pytest.fixture
def _bridge():
    install()
    yield
    uninstall()


@pytest.mark.filterwarnings("ignore::parallelcfg.errors.SubstitutionWarning")
def test_scores_are_identical():
    computations = (grid_search, cross_validation, random_forest, k_means, importance)
    with joblib.parallel_config("threading"):
        bare = [compute() for compute in computations]
    install()
    try:
        for keys in ({}, {"max_jobs": 1}, {"backend": "threading"}):
            with parallel_config(**keys):
                bridged = [compute() for compute in computations]
            assert all(map(np.array_equal, bare, bridged)), keys
    finally:
        uninstall()


@pytest.mark.usefixtures("_bridge")
@pytest.mark.filterwarnings("ignore::parallelcfg.errors.SubstitutionWarning")
def test_the_ceiling_holds_inside_of_the_library():
    with parallel_config(max_jobs=1):
        forest().fit(X, Y)
    governor = last_call()
    assert governor.effective_n_jobs == 1
    assert (governor.config.n_jobs, governor.report.tasks) == (-1, 12)
    explained = parallelcfg.explain("n_jobs", governor.config)
    assert explained.winner.file.endswith("_forest.py")
