"""How good the answers are: loss, top-1, top-5, confusions, by class and by superclass. NumPy on predictions only."""

import numpy as np


def cross_entropy(probabilities, labels):
    """Mean of -log p(label). probabilities: (n, classes), rows that sum to 1; labels: (n,). Returns a float."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, 1e-7)).mean())  # 1e-7: where Keras clips, too


def in_top(probabilities, labels, k):
    """Whether each label is among its k likeliest classes; (n,) bool. Of equal probabilities, the first class leads."""
    likeliest = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return (likeliest == labels[:, None]).any(axis=1)


def standard_error(share, count):
    """Standard error of a share that was counted on `count` independent pictures: sqrt(p (1 - p) / n)."""
    return float(np.sqrt(share * (1 - share) / count))


def interval(share, count):
    """(low, high): about two standard errors either way of a share that was counted on `count` pictures, within 0..1.

    Two right and two wrong answers are added, so that a few right answers are no certainty (Agresti and Coull, 1998,
    doi 10.1080/00031305.1998.10480550). share, count: numbers or arrays.
    """
    centre = (share * count + 2) / (count + 4)
    reach = 2 * np.sqrt(centre * (1 - centre) / (count + 4))
    return np.maximum(centre - reach, 0), np.minimum(centre + reach, 1)


def confusion_matrix(labels, predicted, classes):
    """Counts (classes, classes): row is the label, column what it was taken for."""
    places = np.ravel_multi_index((labels, predicted), (classes, classes))
    return np.bincount(places, minlength=classes**2).reshape(classes, classes)


def accuracy_by_class(confusion):
    """Share of each row's pictures on the diagonal, (classes,); nan for a class without pictures."""
    counts = confusion.sum(axis=1)
    return np.divide(confusion.diagonal(), counts, out=np.full(len(counts), np.nan), where=counts > 0)


def by_superclass(confusion, superclass_of):
    """The confusion matrix of the superclasses. superclass_of: (classes,), the superclass of each class from 0 on."""
    superclass_of = np.asarray(superclass_of)
    members = np.eye(superclass_of.max() + 1, dtype=int)[superclass_of]
    return members.T @ confusion @ members


def top1_by_superclass(probabilities, labels, classes, superclasses):
    """Top-1 accuracy on the pictures of each superclass, by its name; right is only the class itself.

    classes: names in the order of the labels; superclasses: dict of name to the names of its classes.
    """
    right = in_top(probabilities, labels, 1)
    names = np.array(classes)[labels]
    return {group: float(right[np.isin(names, members)].mean()) for group, members in superclasses.items()}


def evaluate(probabilities, labels):
    """Loss, top-1 and top-5 with their standard errors, as a dict of plain numbers; shares, not percents.

    probabilities: (n, classes); labels: (n,) whole numbers from 0 to classes - 1. Raises ValueError where their
    lengths differ or there is nothing to evaluate.
    """
    if len(probabilities) != len(labels) or not len(labels):
        raise ValueError(f"expected as many labels as predictions, found {len(labels)} and {len(probabilities)}")
    top1, top5 = (float(in_top(probabilities, labels, k).mean()) for k in (1, 5))
    return {
        "loss": cross_entropy(probabilities, labels),
        "top1": top1,
        "top5": top5,
        "top1_standard_error": standard_error(top1, len(labels)),
        "top5_standard_error": standard_error(top5, len(labels)),
        "pictures": len(labels),
    }


def calibration(probabilities, labels, bins=10):
    """Does 80 % sure mean right in 80 of 100? Confidence and accuracy in `bins` equal steps of confidence.

    probabilities: (n, classes); labels: (n,). Returns (confidence, accuracy, count, error): the first three (bins,),
    the first two of them nan where a bin is empty; error is the expected calibration error, a float (Guo et al.,
    arXiv 1706.04599, equation 3).
    """
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum((sure * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(place, sure, bins) / count
        accuracy = np.bincount(place, right, bins) / count
    error = float(np.nansum(count * abs(accuracy - confidence)) / len(labels))
    return confidence, accuracy, count, error
