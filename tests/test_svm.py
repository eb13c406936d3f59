import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from mlops_lib import checkpoint as checkpoints
from mlops_lib import machine, record, svm
from mlops_lib.params import ParameterError

BACKENDS = [
    name for name in ("libsvm", "intelex") if name == "libsvm" or svm.choose_backend("auto") == name
]


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    rows = (images / 16).astype(np.float32)
    return (rows[:900], labels[:900]), (rows[900:], labels[900:])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("kernel", "options"),
    [("rbf", {}), ("rbf", {"gamma": 0.05}), ("poly", {"degree": 2}), ("poly", {"gamma": "auto"})],
)
@pytest.mark.parametrize("C", [1, 10])
def test_every_prediction_is_libsvms(digits, backend, kernel, options, C):
    (features, labels), (unseen, _) = digits
    reference = SVC(kernel=kernel, C=C, **options).fit(features, labels)
    ours = svm.fit(features, labels, kernel=kernel, C=C, backend=backend, **options)
    assert np.array_equal(ours.predict(unseen), reference.predict(unseen))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("images", "vectors"), [(257, 256), (260, 257), (516, 511), (520, 513)])
def test_any_number_of_support_vectors_is_scored_rightly(backend, images, vectors):
    """Just above a multiple of 256, the extension's own predict writes past a row."""
    random = np.random.default_rng(images)
    features = random.random((images, 20), dtype=np.float32)
    labels = np.arange(images) % 2  # no rule to learn: nearly every image is a support vector
    unseen = random.random((400, 20), dtype=np.float32)
    reference = SVC(kernel="rbf", C=0.5).fit(features, labels)
    ours = svm.fit(features, labels, kernel="rbf", C=0.5, backend=backend)
    assert len(ours.support_) == len(reference.support_) == vectors
    assert np.array_equal(ours.predict(unseen), reference.predict(unseen))


def test_what_can_not_be_scored_is_not_fitted(digits):
    features, labels = digits[0]
    with pytest.raises(ValueError, match="kernel='linear' is not allowed: use poly or rbf"):
        svm.fit(features, labels, kernel="linear", C=1)
    with pytest.raises(ValueError, match="backend='libsmv' is not allowed"):
        svm.fit(features, labels, kernel="rbf", C=1, backend="libsmv")
    with pytest.raises(ValueError, match="gamma=0 is not allowed: use a number above 0"):
        svm.fit(features, labels, kernel="rbf", C=1, gamma=0)


def test_decisions_beyond_single_precision_are_taken_in_double(digits):
    features, labels = digits[0]
    ours = svm.fit(features, labels, kernel="poly", C=1, degree=3, backend="libsvm")
    ours.gamma = 1e13
    assert not np.isfinite(ours.similarity(features[:50], np.float32)).all()
    assert (ours.wins(features[:50]) == (ours.decision(features[:50]) > 0)).all()


def test_decision_values_are_libsvms(digits):
    (features, labels), (unseen, _) = digits
    reference = SVC(kernel="rbf", C=10, decision_function_shape="ovo").fit(features, labels)
    ours = svm.fit(features, labels, kernel="rbf", C=10, backend="libsvm")
    assert np.allclose(ours.decision(unseen), reference.decision_function(unseen), atol=1e-5)


@pytest.mark.parametrize(("offset", "scale"), [(1000, 1), (0, 1000)])
def test_features_far_from_0_or_each_other_are_scored_as_by_libsvm(digits, offset, scale):
    features, unseen = (scale * part[0].astype(np.float64) + offset for part in digits)
    for gamma in ("scale", 1.0):
        reference = SVC(C=10, gamma=gamma).fit(features, digits[0][1])
        ours = svm.fit(features, digits[0][1], kernel="rbf", C=10, gamma=gamma, backend="libsvm")
        assert np.array_equal(ours.predict(unseen), reference.predict(unseen))
        assert np.array_equal(ours.wins(unseen), ours.decision(unseen) > 0)


def test_what_is_not_a_number_is_not_classified(digits):
    (features, labels), (unseen, _) = digits
    ours = svm.fit(features, labels, kernel="rbf", C=1)
    for wrong in (np.full_like(unseen[:2], np.nan), unseen[0], unseen[:, 1:], unseen[:, :1]):
        with pytest.raises(ValueError):
            ours.predict(wrong)


def test_doubtful_decisions_are_those_of_float64(digits):
    (features, labels), (unseen, _) = digits
    ours = svm.fit(features, labels, kernel="poly", C=10, degree=3)
    exact = ours.decision(unseen)
    ours.intercept_ = ours.intercept_ - exact[7] + 1e-7  # image 7 now lies near every border
    assert np.array_equal(ours.wins(unseen), ours.decision(unseen) > 0)


def test_rows_beyond_a_block_are_predicted_too(digits, monkeypatch):
    (features, labels), (unseen, _) = digits
    ours = svm.fit(features, labels, kernel="rbf", C=1)
    whole = ours.predict(unseen)
    monkeypatch.setattr(svm, "BLOCK_ROWS", 100)
    assert np.array_equal(ours.predict(unseen), whole)


def test_two_classes_are_voted_on_rightly(digits):
    (features, labels), (unseen, _) = digits
    two = np.isin(labels, (3, 8))
    for backend in BACKENDS:
        ours = svm.fit(features[two], labels[two], kernel="rbf", C=1, backend=backend)
        reference = SVC(C=1).fit(features[two], labels[two])
        assert np.array_equal(ours.predict(unseen), reference.predict(unseen))


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
    assert "going on after 2 of 3 candidates" in capsys.readouterr().out
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
