import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mlops_lib import checkpoint as checkpoints
from mlops_lib import machine, record, svm
from mlops_lib.params import ParameterError

BACKENDS = [
    name for name in ("libsvm", "intelex") if name == "libsvm" or svm.choose_backend("auto") == name
]


def test_what_can_not_be_scored_is_not_fitted(digits):
    features, labels = digits[0]
    with pytest.raises(ValueError, match="kernel='linear' is not allowed: use poly or rbf"):
        svm.fit(features, labels, kernel="linear", C=1)
    with pytest.raises(ValueError, match="backend='libsmv' is not allowed"):
        svm.fit(features, labels, kernel="rbf", C=1, backend="libsmv")
    with pytest.raises(ValueError, match="gamma=0 is not allowed: use a number above 0"):
        svm.fit(features, labels, kernel="rbf", C=1, gamma=0)


def test_degree_is_searched_for_the_polynomial_kernel_alone():
    poly = list(svm.candidates("poly", [1, 10], [2, 3], ["scale"]))
    assert [(c["C"], c["degree"]) for c in poly] == [(1, 2), (1, 3), (10, 2), (10, 3)]
    rbf = list(svm.candidates("rbf", [1, 10], [2, 3], ["scale"]))
    assert [(c["C"], c["degree"]) for c in rbf] == [(1, None), (10, None)]


def test_the_best_on_validation_images_is_chosen_the_first_of_equals(digits):
    train, val = digits
    grid = list(svm.candidates("rbf", [1e-4, 10, 10.5], [3], ["scale"]))
    rows, best, estimator = svm.search(train, val, grid, kernel="rbf", backend="libsvm")
    accuracies = [row["val_accuracy"] for row in rows]
    assert accuracies[0] < accuracies[1]
    assert best is rows[int(np.argmax(accuracies))]
    assert np.mean(estimator.predict(val[0]) == val[1]) == best["val_accuracy"]
    seconds = {"fit_seconds", "fit_cpu_seconds", "predict_seconds"}
    assert set(best) == {"C", "degree", "gamma", "val_accuracy", *seconds}
    results = svm.results(rows, best, estimator, 0.5, "libsvm")
    assert results["n_support"] == len(estimator.support_)
    assert results["backend"] == "libsvm"


@pytest.mark.parametrize("best", [0, 2])
def test_an_interrupted_search_goes_on(digits, tmp_path, monkeypatch, capsys, best):
    train, val = digits
    C = [10, 1e-4, 1e-3] if best == 0 else [1e-4, 1e-3, 10]
    grid = list(svm.candidates("rbf", C, [3], ["scale"]))
    whole = svm.search(train, val, grid, kernel="rbf", backend="libsvm")
    checkpoint = tmp_path / "search.pt"
    monkeypatch.setattr(svm, "SAVE_SECONDS", 0)
    fit, fitted = svm.fit, []

    def killed(*arguments, **options):
        fitted.append(options["C"])
        if len(fitted) == 3:
            raise KeyboardInterrupt
        return fit(*arguments, **options)

    monkeypatch.setattr(svm, "fit", killed)
    options = {"kernel": "rbf", "backend": "libsvm", "checkpoint": checkpoint}
    with pytest.raises(KeyboardInterrupt):
        svm.search(train, val, grid, **options)
    rows, chosen, estimator = svm.search(train, val, grid, **options)
    assert "resumed after 2 of 3 candidates" in capsys.readouterr().out
    assert fitted == C[:3] + C[2:] + [10] * (best == 0)  # the best one again, its time not counted
    assert [row["val_accuracy"] for row in rows] == [row["val_accuracy"] for row in whole[0]]
    assert chosen is rows[best]
    assert np.array_equal(estimator.predict(val[0]), whole[2].predict(val[0]))


@pytest.mark.parametrize("other", ["scikit-learn", "code", "images", "an extension"])
def test_the_checkpoint_of_other_software_or_images_is_not_taken(digits, tmp_path, other):
    train, val = digits
    by = svm._made_by("libsvm", train, val) | {other: "0.1"}
    grid = list(svm.candidates("rbf", [1, 10], [3], ["scale"]))
    checkpoint = tmp_path / "search.pt"
    rows = [grid[0] | {"val_accuracy": 1.0}]
    checkpoints.save(checkpoint, {"rows": rows, "by": by})
    found, best, _ = svm.search(
        train, val, grid, kernel="rbf", backend="libsvm", checkpoint=checkpoint
    )
    assert len(found) == 2
    assert best["val_accuracy"] < 1


@pytest.mark.parametrize("name", ["threads", "cpu_name"])
def test_the_checkpoint_of_another_machine_is_not_taken(digits, monkeypatch, name):
    here = svm._made_by("libsvm", *digits)
    assert here == svm._made_by("libsvm", *digits)
    monkeypatch.setattr(machine, name, lambda: "another")
    assert here != svm._made_by("libsvm", *digits)


def test_support_vectors_are_rows_of_the_training_images(digits):
    (features, labels), _ = digits
    for backend in BACKENDS:
        ours = svm.fit(features, labels, kernel="rbf", C=1, backend=backend)
        assert np.array_equal(features[ours.support_], ours.support_vectors_)
        assert np.array_equal(np.bincount(labels[ours.support_]), ours.n_support_)


@pytest.mark.skipif(svm.choose_backend("auto") != "intelex", reason="the extension is not here")
def test_the_number_of_threads_changes_no_bit(monkeypatch):
    """The extension alone sums in another order where it has a single thread."""
    random = np.random.default_rng(0)
    features = random.random((1000, 784), dtype=np.float32)
    labels = random.integers(0, 10, 1000)
    found = []
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found.append(svm.fit(features, labels, kernel="rbf", C=10.0))
    assert found[0].dual_coef_.tobytes() == found[1].dual_coef_.tobytes()
    assert found[0].intercept_.tobytes() == found[1].intercept_.tobytes()


def test_a_backend_that_is_not_installed_is_refused_before_the_work(monkeypatch):
    monkeypatch.setattr(svm, "find_spec", lambda name: None)
    refusal = "backend='intelex' is not allowed: scikit-learn-intelex is not installed"
    with pytest.raises(ParameterError, match=refusal):
        record.begin("q1b", {"backend": "intelex"})
    with pytest.raises(ParameterError, match=refusal):
        svm.fit(np.zeros((2, 1)), np.arange(2), kernel="rbf", C=1, backend="intelex")
    svm.require("auto")


@pytest.mark.parametrize("scaling", ["standard", "normalised"])
def test_scaled_features_are_those_of_the_training_images(digits, scaling):
    """Against scikit-learn's own: its scaler of each feature, or of all as one."""
    train, test = ((features[:300], labels[:300]) for features, labels in digits)
    options = {"kernel": "poly", "C": 10}  # one scale for all features leaves RBF as it is
    ours = svm.fit(*train, **options, backend="libsvm", scaling=scaling)
    scaler, shape = StandardScaler(), (-1, 64 if scaling == "standard" else 1)
    scaled = scaler.fit_transform(train[0].reshape(shape)).reshape(train[0].shape)
    theirs = SVC(**options).fit(scaled, train[1])
    expected = theirs.predict(scaler.transform(test[0].reshape(shape)).reshape(test[0].shape))
    assert np.array_equal(ours.predict(test[0]), expected)
    assert np.array_equal(ours.support_, theirs.support_)
    assert not np.array_equal(expected, svm.fit(*train, **options).predict(test[0]))


def test_a_feature_that_never_changes_is_not_divided_by_nothing():
    scale = svm.Scale.fitted(np.array([[1, 0], [1, 4]], np.float32), each=True)
    assert scale(np.array([[1, 6]], np.float32)).tolist() == [[0, 2]]


def test_candidates_are_not_chosen_by_images_that_they_were_fitted_to():
    with pytest.raises(ParameterError, match="no images to choose among 2 candidates"):
        record.begin("q1b", {"train_on_validation": True, "C": [1, 10]})
    record.begin("q1b", {"train_on_validation": True, "C": [1], "degree": [2, 3]})  # RBF
