"""CIFAR-100, read from folders and archives of a small made-up data set: 100 classes, two and one images each."""

import hashlib
import io
import pickle
import random
import tarfile

import cv2
import numpy as np
import pytest

from mbv2_lib import cifar100
from mbv2_lib.files import UserError


def made_up_records():
    """Records as the official files have them, in shuffled order: {"train": (200, 3074), "test": (100, 3074)}."""
    rng = np.random.default_rng(0)
    records = {}
    for split, per_class in (("train", 2), ("test", 1)):
        fine = rng.permutation(np.repeat(np.arange(100, dtype=np.uint8), per_class))
        pixels = rng.integers(0, 256, (len(fine), 3072), np.uint8)
        records[split] = np.column_stack([cifar100.SUPERCLASS_OF[fine], fine, pixels])
    return records


def expect(monkeypatch, records):
    """Make the library take `records` for the true data; the digest is written out here a second time."""
    for split, rows in records.items():
        digests = sorted(hashlib.sha256(bytes(row)).digest() for row in rows)
        monkeypatch.setitem(cifar100.DIGESTS, split, hashlib.sha256(b"".join(digests)).hexdigest())


def binary_files(records, folder="cifar-100-binary/"):
    return {f"{folder}{split}.bin": rows.tobytes() for split, rows in records.items()}


def picture_files(records, folder="cifar100/"):
    """The tree of PNGs of the same records, numbered in the order of the records."""
    groups = list(cifar100.SUPERCLASSES)
    files = {}
    for split, rows in records.items():
        for number, (coarse, fine, *pixels) in enumerate(rows.tolist()):
            rgb = np.array(pixels, np.uint8).reshape(3, 32, 32).transpose(1, 2, 0)
            name = f"{folder}{split}/{groups[coarse]}/{cifar100.CLASSES[fine]}/{number:04d}.png"
            files[name] = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()
    return files


def packed(files, *more_members):
    """The bytes of a .tar.gz of `files`; `more_members` are TarInfo objects without data."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in more_members:
            archive.addfile(member)
    return buffer.getvalue()


def write(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def records(monkeypatch):
    records = made_up_records()
    expect(monkeypatch, records)
    return records


def assert_same_as(records, loaded, in_order=True):
    for rows, (images, labels) in zip(records.values(), loaded, strict=True):
        assert images.shape == (len(rows), 32, 32, 3) and images.dtype == np.uint8
        assert labels.shape == (len(rows),) and labels.dtype == np.uint8
        if in_order:
            assert np.array_equal(labels, rows[:, 1])
            assert np.array_equal(images[:, :, :, 0], rows[:, 2 : 2 + 1024].reshape(-1, 32, 32))
            assert np.array_equal(images[7, 3, 5], rows[7, [2 + 101, 2 + 1024 + 101, 2 + 2048 + 101]])


def load_fails(source, *words):
    with pytest.raises(UserError) as caught:
        cifar100.load(source)
    text = str(caught.value)
    assert "\n" not in text and "folder or an archive" in text and "shapes100" in text
    for word in words:
        assert word in text
    return text


# Names


def test_there_are_a_hundred_classes_in_twenty_superclasses_of_five():
    assert len(set(cifar100.CLASSES)) == 100 and list(cifar100.CLASSES) == sorted(cifar100.CLASSES)
    assert len(cifar100.SUPERCLASSES) == 20 and list(cifar100.SUPERCLASSES) == sorted(cifar100.SUPERCLASSES)
    assert all(len(names) == 5 for names in cifar100.SUPERCLASSES.values())


def test_every_class_knows_its_superclass():
    groups = list(cifar100.SUPERCLASSES)
    for label, name in enumerate(cifar100.CLASSES):
        assert name in cifar100.SUPERCLASSES[groups[cifar100.SUPERCLASS_OF[label]]]
    # The first ten coarse labels as Keras and the author's files give them, apple to bottle.
    assert cifar100.SUPERCLASS_OF[:10].tolist() == [4, 1, 14, 8, 0, 6, 7, 7, 18, 3]


# Sources on the disk


@pytest.mark.parametrize("inside", ["", "cifar-100-binary/"])
def test_a_folder_of_binary_files_is_read_in_their_order(records, tmp_path, inside):
    assert_same_as(records, cifar100.load(write(tmp_path, binary_files(records, inside))))


@pytest.mark.parametrize("inside", ["", "cifar100/"])
def test_a_folder_of_pictures_gives_the_same_images_by_class(records, tmp_path, inside):
    (x_train, y_train), (x_test, y_test) = cifar100.load(str(write(tmp_path, picture_files(records, inside))))
    assert y_train.tolist() == sorted(y_train.tolist())
    assert cifar100.digest(x_train, y_train) == cifar100.DIGESTS["train"]
    assert cifar100.digest(x_test, y_test) == cifar100.DIGESTS["test"]


@pytest.mark.parametrize("ending", [".tar.gz", ".tgz"])
def test_an_archive_of_binary_files_is_read(records, tmp_path, ending):
    archive = tmp_path / f"cifar{ending}"
    archive.write_bytes(packed(binary_files(records)))
    assert_same_as(records, cifar100.load(archive))
    assert list(tmp_path.iterdir()) == [archive]  # nothing was unpacked


def test_pictures_get_their_labels_by_name_whatever_their_order_in_the_archive(records, tmp_path):
    files = list(picture_files(records).items())
    loaded = []
    for seed in (1, 2):
        random.Random(seed).shuffle(files)
        archive = tmp_path / f"{seed}.tgz"
        archive.write_bytes(packed(dict(files)))
        loaded.append(cifar100.load(archive))
        assert_same_as(records, loaded[-1], in_order=False)
    for (images, labels), (images_again, labels_again) in zip(*loaded, strict=True):
        assert np.array_equal(images, images_again) and np.array_equal(labels, labels_again)
    (x_train, y_train), _ = loaded[0]
    true_label = {row[2:].tobytes(): row[1] for row in records["train"]}
    assert all(true_label[x.transpose(2, 0, 1).tobytes()] == y for x, y in zip(x_train, y_train, strict=True))


def test_the_digest_does_not_depend_on_the_order_and_does_on_a_pixel_and_a_label(records, tmp_path):
    (images, labels), _ = cifar100.load(write(tmp_path, binary_files(records)))
    assert cifar100.digest(images[::-1], labels[::-1]) == cifar100.DIGESTS["train"]
    other = images.copy()
    other[0, 0, 0, 0] ^= 1
    assert cifar100.digest(other, labels) != cifar100.DIGESTS["train"]
    assert cifar100.digest(images, np.roll(labels, 1)) != cifar100.DIGESTS["train"]


def test_the_digests_expected_are_those_of_the_design():
    assert cifar100.DIGESTS["train"].startswith("7077d87fc363f92d") and len(cifar100.DIGESTS["train"]) == 64
    assert cifar100.DIGESTS["test"].startswith("96adb3db8da7632d") and len(cifar100.DIGESTS["test"]) == 64


# Sources that are wrong


def test_a_missing_source_says_the_layout_expected(tmp_path):
    load_fails(tmp_path / "nowhere", "nowhere", "train.bin", "nothing there")


def test_an_empty_folder_says_the_layout_expected(tmp_path):
    load_fails(tmp_path, str(tmp_path), "train.bin", "no train images")


def test_a_folder_with_one_split_says_which_is_missing(records, tmp_path):
    (tmp_path / "train.bin").write_bytes(records["train"].tobytes())
    load_fails(tmp_path, "no test images")


def test_one_changed_pixel_is_refused_with_expected_and_found(records, tmp_path):
    records["test"][5, 1000] ^= 1
    text = load_fails(write(tmp_path, binary_files(records)), "not CIFAR-100", "100 images with digest")
    assert cifar100.DIGESTS["test"][:12] in text


def test_a_missing_image_is_refused(records, tmp_path):
    load_fails(write(tmp_path, binary_files(records | {"train": records["train"][1:]})), "found 199 images")


def test_a_truncated_binary_file_is_named(records, tmp_path):
    write(tmp_path, binary_files(records, ""))
    (tmp_path / "test.bin").write_bytes(records["test"].tobytes()[:-1])
    load_fails(tmp_path, "test.bin", "3074", str(100 * 3074 - 1))


@pytest.mark.parametrize("column, value", [(0, 20), (1, 100), (1, 255)])
def test_labels_out_of_range_or_at_odds_are_refused(records, tmp_path, column, value):
    records["train"][3, column] = value
    load_fails(write(tmp_path, binary_files(records)), "train.bin", "labels")


def test_an_unknown_class_folder_is_named(records, tmp_path):
    files = picture_files(records)
    load_fails(write(tmp_path, files | {"cifar100/train/fish/herring/1.png": b""}), "herring")


@pytest.mark.parametrize("picture", [b"not a picture", "cut", "large"])
def test_a_broken_picture_or_one_of_another_size_is_named(records, tmp_path, picture):
    files = picture_files(records)
    name = next(iter(files))
    if picture == "large":
        picture = cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    if picture == "cut":
        picture = files[name][:40]
    load_fails(write(tmp_path, files | {name: picture}), name, "32 x 32")


def test_a_picture_that_claims_to_fill_the_memory_is_refused_by_its_header(records, tmp_path):
    files = picture_files(records)
    name, data = next(iter(files.items()))
    bomb = data[:16] + (60_000).to_bytes(4, "big") * 2 + data[24:]
    load_fails(write(tmp_path, files | {name: bomb}), name)


def test_the_python_version_with_its_pickles_is_not_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    trap = pickle.dumps(Trap())
    archive = tmp_path / "cifar-100-python.tar.gz"
    archive.write_bytes(packed({f"cifar-100-python/{name}": trap for name in ("train", "test", "meta")}))
    load_fails(archive, "train.bin")
    assert not (tmp_path / "sprung").exists()


# Archives that are hostile or broken


def link(name, target, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


HOSTILE = {
    "parent": tarfile.TarInfo("../escaped.bin"),
    "deep parent": tarfile.TarInfo("cifar100/train/../../../escaped.png"),
    "absolute": tarfile.TarInfo("/tmp/escaped.bin"),
    "windows parent": tarfile.TarInfo("..\\escaped.bin"),
    "windows drive": tarfile.TarInfo("C:\\escaped.bin"),
    "symlink": link("cifar-100-binary/more.bin", "/etc/passwd"),
    "hardlink": link("cifar-100-binary/more.bin", "cifar-100-binary/test.bin", tarfile.LNKTYPE),
    "device": link("cifar-100-binary/null", "", tarfile.CHRTYPE),
    "pipe": link("cifar-100-binary/pipe", "", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_archive_with_a_member_outside_its_folder_or_a_link_is_refused(records, tmp_path, kind):
    folder = tmp_path / "inside"
    folder.mkdir()
    archive = folder / "cifar.tgz"
    archive.write_bytes(packed(binary_files(records), HOSTILE[kind]))
    load_fails(archive, HOSTILE[kind].name)
    assert list(tmp_path.rglob("*")) == [folder, archive]  # nothing was written, inside or outside


def test_a_link_that_stands_in_for_the_data_is_refused(records, tmp_path):
    files = binary_files(records)
    del files["cifar-100-binary/test.bin"]
    archive = tmp_path / "cifar.tgz"
    archive.write_bytes(packed(files, link("cifar-100-binary/test.bin", "/etc/passwd")))
    load_fails(archive, "link")


def test_a_decompression_bomb_is_refused_while_it_is_read(monkeypatch, tmp_path):
    monkeypatch.setattr(cifar100, "MOST_BYTES", 10_000_000)
    archive = tmp_path / "bomb.tgz"
    archive.write_bytes(packed({"cifar100/zeros": bytes(11_000_000)}))
    assert archive.stat().st_size < 100_000
    load_fails(archive, "10,000,000 bytes")


def test_a_bomb_in_a_members_name_is_refused_too(monkeypatch, tmp_path):
    monkeypatch.setattr(cifar100, "MOST_BYTES", 10_000_000)
    archive = tmp_path / "bomb.tgz"
    archive.write_bytes(packed({"x" * 11_000_000: b""}))
    load_fails(archive, "10,000,000 bytes")


def test_a_bomb_of_many_members_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(cifar100, "MOST_MEMBERS", 1000)
    archive = tmp_path / "bomb.tgz"
    archive.write_bytes(packed({f"{number}": b"" for number in range(1001)}))
    load_fails(archive, "1,000 members")


@pytest.mark.parametrize("damage", ["cut", "plain text", "empty", "flipped"])
def test_a_broken_archive_is_named(records, tmp_path, damage):
    whole = packed(binary_files(records))
    middle = len(whole) // 2
    data = {
        "cut": whole[:middle],
        "plain text": b"<html>404</html>",
        "empty": b"",
        "flipped": whole[:middle] + bytes(byte ^ 255 for byte in whole[middle : middle + 50]) + whole[middle + 50 :],
    }[damage]
    archive = tmp_path / "cifar.tar.gz"
    archive.write_bytes(data)
    load_fails(archive, "cifar.tar.gz")
