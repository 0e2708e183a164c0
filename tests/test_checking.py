"""What is wrong with a folder is found, by name, and nothing is said of a folder that is right."""

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_folders import CLASSES, random_images, write

from mbv2_lib import checking, folders
from mbv2_lib.checking import check, expect_layout, find_unreadable
from mbv2_lib.files import UserError


@pytest.fixture
def tree(tmp_path):
    """A whole folder of 40 training and 10 validation pictures of 96 px, all different."""
    images, labels = random_images(50), np.arange(50) % 2
    splits = {"train": (images[:40], labels[:40]), "validation": (images[40:], labels[40:])}
    write(tmp_path / "tree", splits, size=96)
    return tmp_path / "tree"


def kinds(folder):
    return [finding.kind for finding in check(folder, progress=False)]


def first(tree, split, name="zebra"):
    return sorted((tree / split / name).iterdir())[0]


def copied(tree, name, change):
    """Put `change` of the first training picture in the place of the first validation picture; return both paths."""
    source, target = first(tree, "train"), first(tree, "validation")
    target.unlink()
    target = target.with_name(name)
    change(source, target)
    return source, target


def encoded_anew(quality=None):
    def change(source, target):
        settings = [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality]
        assert cv2.imwrite(str(target), cv2.imread(str(source)), settings)

    return change


# The layout


def test_a_whole_folder_passes_and_gives_its_classes(tree):
    assert expect_layout(tree) == CLASSES
    assert check(tree, progress=False) == []


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: None, "no such folder"),
        (lambda path: path.write_text("text"), "a file"),
        (lambda path: path.mkdir(), "an empty folder"),
        (lambda path: (path / "test").mkdir(parents=True), "a folder with test"),
        (lambda path: [(path / split).mkdir(parents=True) for split in folders.SPLITS], "no class folders"),
    ],
)
def test_another_layout_is_shown_beside_the_one_expected(tmp_path, make, found):
    make(tmp_path / "data")
    for look in (expect_layout, check):
        with pytest.raises(UserError) as refused:
            look(tmp_path / "data")
        assert f"{tmp_path / 'data'}: expected train/<class>/<image>.jpg" in str(refused.value)
        assert found in str(refused.value) and "\n" not in str(refused.value)


def test_a_class_in_one_split_only_is_named(tree):
    (tree / "manifest.json").unlink()
    shutil.rmtree(tree / "validation" / "ant")
    with pytest.raises(UserError, match="validation/ lacks ant"):
        expect_layout(tree)
    assert kinds(tree) == ["missing class"]


def test_a_folder_that_the_manifest_does_not_know_is_named(tree):
    shutil.copytree(tree / "train" / "ant", tree / "train" / "bee")
    with pytest.raises(UserError, match="found in train/ also bee"):
        expect_layout(tree)


def test_an_empty_class_is_named(tree):
    for path in (tree / "validation" / "ant").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="validation/ant: expected images"):
        expect_layout(tree)
    assert kinds(tree) == ["empty class", "number of images"]


def test_a_lost_picture_is_missed(tree):
    first(tree, "train").unlink()
    (finding,) = check(tree, progress=False)
    assert "expected 40 images in train/ (manifest.json), found 39" in finding.message
    assert "run the same mbv2 prepare again" in finding.message


def test_a_picture_too_many_is_to_be_removed(tree):
    folder = first(tree, "train").parent
    assert cv2.imwrite(str(folder / "new.png"), np.random.default_rng(9).integers(0, 256, (32, 32, 3), np.uint8))
    (finding,) = check(tree, progress=False)
    assert finding.message.endswith("found 41; remove those that were added")


# Pictures that cannot be read


def encoded(ending):
    return cv2.imencode(ending, random_images(1, seed=9)[0])[1].tobytes()


def with_thumbnail(jpeg):
    """The JPEG with a whole small JPEG, end mark and all, in its header, as cameras write it."""
    segment = encoded(".jpg")
    return jpeg[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + jpeg[2:]


BROKEN = {
    "empty.jpg": b"",
    "text.jpg": b"this is no picture, whatever its name says",
    "half.jpg": encoded(".jpg")[:-300],
    "one_byte_short.jpg": encoded(".jpg")[:-1],
    "head.jpg": encoded(".jpg")[:20],
    "half_with_thumbnail.jpg": with_thumbnail(encoded(".jpg"))[:-300],
    "zeros_at_the_end.jpg": encoded(".jpg")[:-300] + bytes(300),
    "half.png": encoded(".png")[:-300],
    "one_byte_short.png": encoded(".png")[:-1],
    "flipped.png": encoded(".png")[:60] + bytes([encoded(".png")[60] ^ 255]) + encoded(".png")[61:],
    "half.bmp": encoded(".bmp")[:-300],
}
WHOLE = {
    "whole.jpg": encoded(".jpg"),
    "whole.png": encoded(".png"),
    "whole.bmp": encoded(".bmp"),
    "a_png_by_content.jpg": encoded(".png"),
    "thumbnail.jpg": with_thumbnail(encoded(".jpg")),
    "data_of_a_camera_behind.jpg": encoded(".jpg") + b"made by a camera",
}


def test_broken_pictures_are_found_and_whole_ones_are_not(tmp_path):
    for name, data in (BROKEN | WHOLE).items():
        (tmp_path / name).write_bytes(data)
    paths = [str(tmp_path / name) for name in (BROKEN | WHOLE)]
    found = find_unreadable(paths, progress=False)
    assert [Path(path).name for path in found] == list(BROKEN)


def test_pictures_of_fewer_than_eight_pixels_a_side_are_readable(tmp_path):
    for name, shape in (("dot.png", (1, 1, 3)), ("line.jpg", (3, 400, 3))):
        cv2.imwrite(str(tmp_path / name), np.zeros(shape, np.uint8))
    assert find_unreadable([str(path) for path in tmp_path.iterdir()], progress=False) == []


def test_a_path_without_a_file_is_unreadable(tmp_path):
    assert find_unreadable([str(tmp_path / "gone.jpg")], progress=False) == [str(tmp_path / "gone.jpg")]


def test_the_end_mark_catches_a_truncation_that_a_decoder_would_forgive(monkeypatch):
    """OpenCV's own answer to half a JPEG has changed between releases; the marks do not depend on it."""
    monkeypatch.setattr(cv2, "imdecode", None)
    assert checking.flaw_of(encoded(".jpg")) is None
    assert all(checking.flaw_of(encoded(".jpg")[:cut]) for cut in range(len(encoded(".jpg"))))


def test_check_lists_every_unreadable_picture_by_path_with_the_reason(tree):
    truncated, text = first(tree, "train"), first(tree, "validation", "ant")
    truncated.write_bytes(truncated.read_bytes()[:-100])
    text.write_text("no picture")
    findings = check(tree, progress=False)
    assert [finding.paths for finding in findings] == [(str(truncated),), (str(text),)]
    assert "it is truncated" in findings[0].message and "not a JPEG, PNG or BMP" in findings[1].message


# The same picture in both splits


@pytest.mark.parametrize(
    ("name", "change", "kind"),
    [
        ("renamed.jpg", shutil.copy, "in both splits"),
        ("lossless.png", encoded_anew(), "in both splits"),
        ("lossless.bmp", encoded_anew(), "in both splits"),
        ("quality_90.jpg", encoded_anew(90), "near copy"),
        ("quality_50.jpg", encoded_anew(50), "near copy"),
        ("quality_30.jpg", encoded_anew(30), "near copy"),
    ],
)
def test_a_training_picture_in_validation_is_found(tree, name, change, kind):
    source, target = copied(tree, name, change)
    (finding,) = check(tree, progress=False)
    assert finding.kind == kind
    assert finding.paths == (str(target), str(source))


def test_a_transparent_picture_is_compared_as_it_is_trained_on_lying_on_white(tree):
    source = first(tree, "train")
    clear = np.zeros((64, 64, 4), np.uint8)  # black, and wholly transparent
    clear[16:48, 16:48] = (0, 0, 255, 255)
    white = np.where(clear[..., 3:] == 0, 255, clear[..., :3]).astype(np.uint8)
    cv2.imwrite(str(source.with_name("clear.png")), clear)
    cv2.imwrite(str(tree / "validation" / source.parent.name / "white.png"), white)
    findings = check(tree, progress=False)
    assert [finding.kind for finding in findings if "white.png" in finding.message] == ["in both splits"]


def test_a_smaller_copy_is_found(tree):
    def shrink(source, target):
        cv2.imwrite(str(target), cv2.resize(cv2.imread(str(source)), (48, 48), interpolation=cv2.INTER_AREA))

    copied(tree, "small.png", shrink)
    assert kinds(tree) == ["near copy"]


def test_different_pictures_raise_no_alarm():
    looks = [
        checking.Look(str(index), bytes([index // 256, index % 256]), checking.perceptual_hash(image), image[::2, ::2])
        for index, image in enumerate(random_images(2000, seed=3))
    ]
    assert checking.near_copies(looks[:1000], looks[1000:]) == []
    bright = random_images(1)[0]  # of equal hash, half as bright: the small pictures tell
    bright, dark = (
        checking.Look("", b"", checking.perceptual_hash(bright), one[::2, ::2]) for one in (bright, bright // 2)
    )
    assert checking.near_copies([bright], [dark]) == []


def test_every_copy_is_found_across_the_blocks_of_the_search():
    looks = [
        checking.Look(str(index), bytes([index]), checking.perceptual_hash(image), image[::2, ::2])
        for index, image in enumerate(random_images(50, seed=4))
    ]
    found = checking.near_copies(looks, looks, block=7)
    assert [(look.path, twins) for look, twins in found] == [(str(index), [str(index)]) for index in range(50)]


def test_a_pipe_among_the_pictures_is_named_and_not_waited_for(tree):
    pipe = tree / "train" / CLASSES[0] / "pipe.png"
    os.mkfifo(pipe)
    assert "unreadable" in kinds(tree)
    assert find_unreadable([pipe], progress=False) == [pipe]
