"""The measures equal those of Keras, and what NumPy and plain Python count."""

import math

import numpy as np
import pytest

from mbv2_lib import evaluation
from mbv2_lib.backend import keras

CLASSES = 12


@pytest.fixture(scope="module")
def answers():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, 500)
    logits = rng.normal(size=(500, CLASSES)) + 1.5 * np.eye(CLASSES)[labels]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), labels


def test_loss_and_accuracies_equal_those_of_keras(answers):
    probabilities, labels = answers
    measured = evaluation.evaluate(probabilities, labels)
    metrics = keras.metrics
    for name, metric in (
        ("loss", metrics.SparseCategoricalCrossentropy()),
        ("top1", metrics.SparseCategoricalAccuracy()),
        ("top5", metrics.SparseTopKCategoricalAccuracy(k=5)),
    ):
        metric.update_state(labels, probabilities.astype("float32"))
        assert measured[name] == pytest.approx(float(metric.result()), rel=1e-6), name
    assert measured["pictures"] == 500
    assert measured["top1_standard_error"] == pytest.approx(
        np.std(probabilities.argmax(axis=1) == labels) / np.sqrt(500)
    )


def test_confusions_of_labels_in_bytes_as_data_sets_hold_them():
    labels, predicted = np.array([3, 99, 3], "uint8"), np.array([0, 98, 0], "uint8")
    confusion = evaluation.confusion_matrix(labels, predicted, 100)
    assert confusion[3, 0] == 2 and confusion[99, 98] == 1 and confusion.sum() == 3


def counted(labels, predicted, classes):
    """The confusion matrix, pair by pair, in plain Python."""
    pairs = list(zip(labels.tolist(), predicted.tolist(), strict=True))
    return [[pairs.count((row, column)) for column in range(classes)] for row in range(classes)]


def test_confusions_equal_those_counted_pair_by_pair(answers):
    probabilities, labels = answers
    predicted = probabilities.argmax(axis=1)
    confusion = evaluation.confusion_matrix(labels, predicted, CLASSES)
    np.testing.assert_array_equal(confusion, counted(labels, predicted, CLASSES))
    shares = [np.mean(predicted[labels == label] == label) for label in range(CLASSES)]
    np.testing.assert_allclose(evaluation.accuracy_by_class(confusion), shares)


def test_superclasses_are_counted_as_if_they_were_the_labels(answers):
    probabilities, labels = answers
    superclass_of = np.arange(CLASSES) % 4
    predicted = probabilities.argmax(axis=1)
    confusion = evaluation.confusion_matrix(labels, predicted, CLASSES)
    expected = counted(superclass_of[labels], superclass_of[predicted], 4)
    np.testing.assert_array_equal(evaluation.by_superclass(confusion, superclass_of), expected)


def test_top1_of_a_superclass_is_that_of_its_classes_pictures(answers):
    probabilities, labels = answers
    names = [f"class {number}" for number in range(CLASSES)]
    groups = {"low": names[:3], "high": names[3:]}
    found = evaluation.top1_by_superclass(probabilities, labels, names, groups)
    low = labels < 3
    for group, rows in (("low", low), ("high", ~low)):
        assert found[group] == np.mean(labels[rows] == probabilities[rows].argmax(axis=1))


def test_a_network_that_answers_alike_to_everything_is_at_chance():
    """Equal probabilities must not count as right: the first class leads, and it is right for its own pictures only."""
    labels = np.repeat(np.arange(10), 5)
    measured = evaluation.evaluate(np.full((50, 10), 0.1), labels)
    assert (measured["top1"], measured["top5"]) == (0.1, 0.5)


def test_a_class_without_pictures_has_no_accuracy():
    accuracy = evaluation.accuracy_by_class(evaluation.confusion_matrix(np.array([0, 0]), np.array([0, 1]), 3))
    assert accuracy[0] == 0.5 and np.isnan(accuracy[1:]).all()


def test_a_sure_and_wrong_answer_has_a_finite_loss():
    assert np.isfinite(evaluation.cross_entropy(np.array([[1.0, 0.0]]), np.array([1])))


@pytest.mark.parametrize("count", [3, 10, 100])
def test_an_interval_holds_the_truth_in_about_95_of_100_exams(count):
    right = np.arange(count + 1)
    low, high = evaluation.interval(right / count, count)
    assert low.min() == 0 and high.max() == 1 and (np.diff(low) >= 0).all() and (np.diff(high) >= 0).all()
    covered = []
    for truth in np.linspace(0.02, 0.98, 25):
        chances = [math.comb(count, k) * truth**k * (1 - truth) ** (count - k) for k in right]
        covered.append(np.sum(chances, where=(low <= truth) & (truth <= high)))
    assert min(covered) > 0.91 and 0.95 < np.mean(covered) < 0.98  # of three pictures, without the four: 0.06 and 0.5


def test_calibration_of_a_network_that_knows_what_it_knows():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 50_000)
    labels = (rng.random(50_000) > sure).astype(int)
    confidence, accuracy, count, error = evaluation.calibration(np.stack([sure, 1 - sure], axis=1), labels)
    assert count.sum() == 50_000 and not count[:5].any() and np.isnan(accuracy[:5]).all()
    np.testing.assert_allclose(accuracy[5:], confidence[5:], atol=0.02)
    assert error < 0.01
    sure, wrong_once = np.array([0.95, 0.66, 0.66, 0.66]), np.array([1, 0, 0, 0])
    _, _, count, error = evaluation.calibration(np.stack([sure, 1 - sure], axis=1), wrong_once)
    assert (count[9], count[6]) == (1, 3) and error == pytest.approx((0.95 + 3 * 0.34) / 4)  # a mean by pictures
    overconfident = evaluation.calibration(np.tile([0.99, 0.01], (50_000, 1)), labels)
    assert overconfident[3] == pytest.approx(0.99 - (labels == 0).mean(), abs=1e-6)


def test_missing_predictions_are_refused(answers):
    probabilities, labels = answers
    with pytest.raises(ValueError, match="expected as many"):
        evaluation.evaluate(probabilities[:-1], labels)
    with pytest.raises(ValueError, match="expected as many"):
        evaluation.evaluate(probabilities[:0], labels[:0])
