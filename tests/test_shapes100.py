"""Shapes-100: the form of CIFAR-100, the same bytes everywhere, and classes that a small network can learn."""

import hashlib

import numpy as np
import pytest

from mbv2_lib import cifar100, shapes100


@pytest.fixture(scope="module")
def drawn():
    return shapes100.draw(4)


def test_it_has_the_form_of_cifar100(drawn):
    images, labels = drawn
    assert images.shape == (400, 32, 32, 3) and images.dtype == np.uint8
    assert labels.shape == (400,) and labels.dtype == np.uint8
    assert np.bincount(labels).tolist() == [4] * 100


def test_its_names_are_of_the_same_kinds_as_cifar100s():
    for name in ("CLASSES", "SUPERCLASSES", "SUPERCLASS_OF"):
        ours, theirs = getattr(shapes100, name), getattr(cifar100, name)
        assert type(ours) is type(theirs) and len(ours) == len(theirs)
    assert list(shapes100.CLASSES) == sorted(set(shapes100.CLASSES))
    assert shapes100.SUPERCLASS_OF.dtype == cifar100.SUPERCLASS_OF.dtype
    groups = list(shapes100.SUPERCLASSES)
    assert groups == sorted(groups) and all(len(names) == 5 for names in shapes100.SUPERCLASSES.values())
    for label, name in enumerate(shapes100.CLASSES):
        assert name in shapes100.SUPERCLASSES[groups[shapes100.SUPERCLASS_OF[label]]]
        assert name.replace("_", "").isalnum()  # names become folders


def test_the_same_seed_gives_the_same_bytes_on_every_machine():
    images, labels = shapes100.draw(2, seed=0)
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    assert digest == "a8a3b523029ae0414a10bb1a2959aa9651bb909568672a170d313500488cb452"


def test_no_rounding_stands_so_near_a_half_that_another_machines_cosine_could_change_it():
    turns = 2 * np.pi * np.arange(shapes100.TURN) / shapes100.TURN
    assert np.abs(np.abs(4096 * np.cos(turns)) % 1 - 0.5).min() > 1e-4


def test_a_smaller_data_set_is_the_beginning_of_a_larger_one(drawn):
    images, labels = shapes100.draw(2)
    assert np.array_equal(images, drawn[0][:200]) and np.array_equal(labels, drawn[1][:200])


def test_seeds_and_splits_draw_other_images():
    (x_train, y_train), (x_test, y_test) = shapes100.load(per_class_train=2, per_class_test=2)
    other, _ = shapes100.draw(2, seed=1)
    assert np.array_equal(y_train, y_test)
    every = [image.tobytes() for image in np.concatenate([x_train, x_test, other])]
    assert len(set(every)) == len(every) == 600


def test_a_split_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match='expected "train" or "test"'):
        shapes100.draw(1, split="validation")


def test_no_class_is_told_by_its_average_colour(drawn):
    """The mean of an image, which a toy of solid colours would be told by, does hardly better than chance."""
    images, labels = drawn
    means = images.mean((1, 2))
    distances = np.square(means[:, None] - means[None]).sum(-1)
    np.fill_diagonal(distances, np.inf)
    assert (labels[distances.argmin(1)] == labels).mean() < 0.05


def test_every_image_has_detail(drawn):
    assert drawn[0].reshape(400, -1).std(1).min() > 8
