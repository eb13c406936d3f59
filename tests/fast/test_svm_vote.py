import numpy as np
import pytest
from sklearn.svm import SVC
from test_svm import BACKENDS

from mlops_lib import svm
from mlops_lib.fast import svm_vote


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
    monkeypatch.setattr(svm_vote, "BLOCK_ROWS", 100)
    assert np.array_equal(ours.predict(unseen), whole)


def test_two_classes_are_voted_on_rightly(digits):
    (features, labels), (unseen, _) = digits
    two = np.isin(labels, (3, 8))
    for backend in BACKENDS:
        ours = svm.fit(features[two], labels[two], kernel="rbf", C=1, backend=backend)
        reference = SVC(C=1).fit(features[two], labels[two])
        assert np.array_equal(ours.predict(unseen), reference.predict(unseen))
