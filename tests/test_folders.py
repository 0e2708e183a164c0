"""The picture folders: what is written is right, whole, resumable, and read in the data set's order."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mbv2_lib import folders
from mbv2_lib.checking import expect_layout
from mbv2_lib.files import UserError, alone_in, read_json

CLASSES = ["zebra", "ant"]  # not in text order, as in a data set that has an order of its own
TEN = [f"class {number}" for number in range(10)]


def random_images(count, seed=0):
    """uint8 RGB (count, 32, 32, 3): smooth, as photographs are, and all different."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return np.stack([cv2.resize(image, (32, 32), interpolation=cv2.INTER_CUBIC) for image in coarse])


def small_splits(count=12):
    labels = np.arange(count) % len(CLASSES)
    return {"train": (random_images(count), labels), "validation": (random_images(4, seed=1), labels[:4])}


def many_splits():
    """Ten classes of twenty pictures to train on, and of one to validate on."""
    validation = random_images(10, seed=1), np.arange(10)
    return {"train": (random_images(200), np.arange(200) % 10), "validation": validation}


def write(out, splits=None, classes=CLASSES, **settings):
    settings = {"size": 48, "source": "test", "progress": False} | settings
    return folders.write_folders(out, splits or small_splits(), classes, **settings)


def all_bytes(folder):
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*.*") if path.is_file()}


def ends_whole(path):
    return path.read_bytes().endswith(folders.END_OF_JPEG)


def times(folder):
    """When each whole picture was written, by its split and name, wherever it stands."""
    pictures = [path for path in Path(folder).rglob("*.jpg") if ends_whole(path)]
    return {(path.parents[1].name, path.name): path.stat().st_mtime_ns for path in pictures}


def leftovers(folder):
    return list(Path(folder).rglob(".partial-*"))


# The pictures


def test_labels_may_be_a_list(tmp_path):
    images, labels = small_splits()["train"]
    splits = {"train": (images, list(labels)), "validation": (images[:0], [])}
    write(tmp_path / "out", splits)
    assert len(list((tmp_path / "out" / "train").rglob("*.jpg"))) == len(images)


def test_red_stays_red_for_a_decoder_that_is_not_opencv(tmp_path):
    red = np.zeros((2, 32, 32, 3), np.uint8)
    red[..., 0] = 250
    write(tmp_path, {"train": (red, np.array([0, 1])), "validation": (red, np.array([0, 1]))})
    pixels = np.asarray(Image.open(folders.list_images(tmp_path, "train")[0][0]))
    assert pixels.shape == (48, 48, 3)
    assert np.all(pixels[..., 0] > 240) and np.all(pixels[..., 1:] < 10)


def test_a_channel_swap_would_be_seen_in_the_written_picture(tmp_path):
    splits = small_splits()
    write(tmp_path, splits, size=224)
    pixels = np.asarray(Image.open(tmp_path / "train/zebra/zebra_00000.jpg")).astype(int)
    original = cv2.resize(splits["train"][0][0], (224, 224), interpolation=cv2.INTER_CUBIC).astype(int)
    assert np.abs(pixels - original).mean() < 6 < np.abs(pixels - original[..., ::-1]).mean()


@pytest.mark.parametrize("name", folders.INTERPOLATIONS)
def test_the_bytes_are_those_of_opencv_resize_and_imencode(tmp_path, name):
    image = random_images(1)[0]
    flag = getattr(cv2, {"lanczos": "INTER_LANCZOS4"}.get(name, f"INTER_{name.upper()}"))
    resized = cv2.resize(image[..., ::-1], (224, 224), interpolation=flag)
    reference = cv2.imencode(".jpg", resized, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    folders.write_picture(str(tmp_path / "a.jpg"), image, 224, name, 95)
    assert (tmp_path / "a.jpg").read_bytes() == reference


def test_one_worker_and_four_write_the_same_bytes(tmp_path):
    write(tmp_path / "one", workers=1)
    write(tmp_path / "four", workers=4)
    assert all_bytes(tmp_path / "one") == all_bytes(tmp_path / "four")
    assert len(all_bytes(tmp_path / "one")) == 12 + 4 + 1


def test_the_manifest_says_where_the_pictures_come_from(tmp_path):
    manifest = write(tmp_path, quality=90, interpolation="area")
    assert manifest == read_json(tmp_path / "manifest.json")
    assert manifest == {
        "format": 1,
        "source": "test",
        "digest": folders.content_digest(small_splits()),
        "size": 48,
        "interpolation": "area",
        "quality": 90,
        "counts": {"train": 12, "validation": 4},
        "classes": CLASSES,
        "complete": True,
    }


# Killed, resumed, full


SLOW_WRITER = """
import sys, time
sys.path.insert(0, {tests!r})
from mbv2_lib import folders
from test_folders import TEN, many_splits, write
write_picture = folders.write_picture
def slowly(*arguments, **settings):
    time.sleep(0.01)
    write_picture(*arguments, **settings)
folders.write_picture = slowly
write({out!r}, many_splits(), TEN, workers=2)
"""


def test_a_killed_run_leaves_whole_class_folders_and_goes_on(tmp_path):
    out = tmp_path / "out"
    program = SLOW_WRITER.format(tests=str(Path(__file__).parent), out=str(out))
    writer = subprocess.Popen([sys.executable, "-c", program])
    limit = time.time() + 60
    while len(list(out.glob("train/[!.]*/*.jpg"))) < 60:
        assert time.time() < limit and writer.poll() is None
        time.sleep(0.01)
    os.kill(writer.pid, signal.SIGKILL)
    assert writer.wait() == -signal.SIGKILL

    assert all(len(list(folder.iterdir())) == 20 for folder in out.glob("train/[!.]*"))
    assert all(ends_whole(path) for path in out.glob("train/[!.]*/*"))
    assert leftovers(out)
    written = times(out)
    with pytest.raises(UserError, match="interrupted"):
        expect_layout(out)

    write(out, many_splits(), TEN)
    write(tmp_path / "at once", many_splits(), TEN)
    assert all_bytes(out) == all_bytes(tmp_path / "at once")
    assert not leftovers(out)
    assert written.items() <= times(out).items(), "written twice"
    expect_layout(out)


def test_half_a_picture_of_a_killed_run_is_written_again(tmp_path):
    write(tmp_path)
    before = all_bytes(tmp_path)
    aside = (tmp_path / "train/ant").rename(tmp_path / "train/.partial-ant")
    (aside / "ant_00001.jpg").write_bytes(before[Path("train/ant/ant_00001.jpg")][:100])
    (aside / "ant_00003.jpg").unlink()
    write(tmp_path)
    assert all_bytes(tmp_path) == before


def test_a_picture_cut_by_a_power_failure_is_written_again(tmp_path):
    write(tmp_path)
    before = all_bytes(tmp_path)
    (tmp_path / "train/ant/ant_00001.jpg").write_bytes(b"")
    (tmp_path / "train/ant/ant_00003.jpg").write_bytes(before[Path("train/ant/ant_00003.jpg")][:-1])
    write(tmp_path)
    assert all_bytes(tmp_path) == before


def test_a_whole_class_folder_stays_where_it_is_and_a_cut_one_goes_on_beside_an_old_one_aside(tmp_path):
    write(tmp_path)
    before, stood = all_bytes(tmp_path), (tmp_path / "train/zebra").stat().st_ctime_ns
    (tmp_path / "train/.partial-ant").mkdir()
    (tmp_path / "train/.partial-ant/ant_00001.jpg").write_bytes(b"of a run before")
    (tmp_path / "train/ant/ant_00001.jpg").unlink()
    write(tmp_path)
    assert all_bytes(tmp_path) == before and not leftovers(tmp_path)
    assert (tmp_path / "train/zebra").stat().st_ctime_ns == stood


def test_a_folder_that_went_away_is_told_and_not_made_anew(tmp_path):
    with pytest.raises(FileNotFoundError):
        folders.write_picture(str(tmp_path / "gone" / "a.jpg"), random_images(1)[0], 48)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change", [{"size": 32}, {"interpolation": "area"}, {"quality": 80}, {"source": "other"}, {"classes": ["a", "b"]}]
)
def test_pictures_of_other_settings_are_never_mixed(tmp_path, change):
    write(tmp_path)
    before = all_bytes(tmp_path)
    name, value = next(iter(change.items()))
    with pytest.raises(UserError) as refused:
        write(tmp_path, **change)
    assert f"expected {name} {value}" in str(refused.value) and "delete it" in str(refused.value)
    with pytest.raises(UserError, match="holds pictures with digest"):
        write(tmp_path, small_splits() | {"train": (random_images(12, seed=2), np.arange(12) % 2)})
    assert all_bytes(tmp_path) == before


def test_a_folder_of_somebody_elses_pictures_is_left_alone(tmp_path):
    (tmp_path / "train" / "cats").mkdir(parents=True)
    with pytest.raises(UserError, match="expected a new folder, found another's train in it"):
        write(tmp_path)


def test_the_manifest_of_another_program_is_left_alone(tmp_path):
    (tmp_path / "manifest.json").write_text(theirs := '{"name": "an extension of a browser"}')
    with pytest.raises(UserError, match="expected a new folder, found another's manifest.json in it"):
        write(tmp_path)
    assert (tmp_path / "manifest.json").read_text() == theirs and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "images, labels",
    [
        (random_images(4), [1, 2, 1, 2]),
        (random_images(4), [0, -1, 0, 1]),
        (random_images(4), [0, 1]),
        (random_images(4) / 255, [0, 1, 0, 1]),
    ],
)
def test_pictures_that_would_be_lost_or_wrong_are_refused(tmp_path, images, labels):
    with pytest.raises(UserError, match="validation: expected uint8 images, each with a label from 0 to 1"):
        write(tmp_path / "data", small_splits() | {"validation": (images, np.array(labels))})
    assert not (tmp_path / "data").exists()


def test_a_rule_that_is_none_is_named_and_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="interpolation 'bicubic': expected one of nearest, linear, cubic"):
        write(tmp_path / "out", interpolation="bicubic")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 200 kB; skipped where this user may not mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a file system here; the file-size limit is tested below")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_file_where_the_folder_should_be_is_named_and_kept(tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(UserError, match="taken: expected a folder to write, found a file"):
        write(tmp_path / "taken", {"train": (random_images(2), np.zeros(2, int))})
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_full_disk_is_said_in_one_line_and_leaves_whole_pictures(small_disk):
    with pytest.raises(UserError, match="No space left on device.*free some space") as full:
        write(small_disk, small_splits(200), size=96, workers=4)
    assert "\n" not in str(full.value)
    written = [path for path in small_disk.rglob("*.*") if path.is_file() and path.suffix != ".json"]
    assert written and all(ends_whole(path) for path in written)
    with pytest.raises(UserError, match="interrupted"):
        expect_layout(small_disk)


def test_a_read_only_disk_is_said_in_one_line(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(UserError, match="Read-only file system"):
        write(small_disk)


LIMITED_WRITER = """
import resource, sys
sys.path.insert(0, {tests!r})
from mbv2_lib.files import UserError
from test_folders import write
write({out!r}, size=8)
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
for size in (48, 224):  # one that fits into a buffer, which is emptied when the file is closed, and one that does not
    try:
        write({other!r} + str(size), size=size)
    except UserError as error:
        print(error)
"""


def test_a_file_size_limit_leaves_nothing_half_written(tmp_path):
    out, other = tmp_path / "small", tmp_path / "large"
    program = LIMITED_WRITER.format(tests=str(Path(__file__).parent), out=str(out), other=str(other))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.count("File too large") == done.stdout.count("\n") == 2 and not done.stderr
    for size in (48, 224):
        assert list(all_bytes(f"{other}{size}")) == [Path("manifest.json")]
    expect_layout(out)


def test_a_file_in_the_place_of_the_folder_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="expected a folder"):
        write(tmp_path / "file" / "pictures")


def test_two_commands_do_not_write_into_one_folder(tmp_path):
    with alone_in(tmp_path), pytest.raises(UserError, match="expected to be alone there, found another command"):
        write(tmp_path)
    assert not list(tmp_path.iterdir())  # neither its pictures nor a lock
    write(tmp_path)


# Reading


def test_folders_named_by_numbers_are_read_as_numbers(tmp_path):
    for split in folders.SPLITS:
        for name in ("10", "2", "0", "1", "11"):
            (tmp_path / split / name).mkdir(parents=True)
    assert folders.class_names(tmp_path) == ["0", "1", "2", "10", "11"]


def test_numbers_count_as_numbers_within_names_and_mix_with_words():
    assert sorted(["b", "a10", "a2", "10", "9"], key=folders.natural_key) == ["9", "10", "a2", "a10", "b"]


def test_the_manifest_knows_the_order_of_the_classes(tmp_path):
    write(tmp_path)
    assert folders.class_names(tmp_path) == CLASSES
    paths, labels = folders.list_images(tmp_path, "train")
    assert labels.dtype == np.int64 and labels.tolist() == [0] * 6 + [1] * 6
    assert [Path(path).parent.name for path in paths] == ["zebra"] * 6 + ["ant"] * 6


@pytest.mark.parametrize(
    "damage",
    [
        '{"classes": 5',
        '{"classes": [1, 2]',
        '{"classes": ["a"], "counts": 7',
        '{"classes": ["a"], "counts": {"train": "100"}',
        "[" * 100_000,
    ],
)
def test_a_damaged_manifest_is_named(tmp_path, damage):
    ending = ', "format": 1, "complete": true}' if damage.startswith("{") else ""
    (tmp_path / "manifest.json").write_text(damage + ending)
    with pytest.raises(UserError, match="manifest.json: expected"):
        folders.read_manifest(tmp_path)


def test_every_image_is_listed_and_nothing_else(tmp_path):
    folder = tmp_path / "train" / "ant"
    folder.mkdir(parents=True)
    for name in ("a.jpg", "b.JPEG", "c.Png", "d.bmp", ".partial-e.jpg", ".f.jpg", "notes.txt", "g.gif"):
        (folder / name).write_bytes(b"")
    assert [Path(path).name for path in folders.list_images(tmp_path, "train")[0]] == [
        "a.jpg",
        "b.JPEG",
        "c.Png",
        "d.bmp",
    ]


def test_progress_is_plain_lines_where_there_is_no_terminal(tmp_path, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    write(tmp_path, progress=True)
    assert "\r" not in screen.getvalue()
    assert "16 of 16 images" in screen.getvalue().splitlines()[-1] and "left" in screen.getvalue()


def test_size_interpolation_and_quality_reach_the_files(tmp_path):
    picture = random_images(1)
    settings = {"size": 48, "interpolation": "nearest", "quality": 30}
    folders.write_folders(tmp_path, {"train": (picture, [0])}, ["a"], progress=False, **settings)
    small = cv2.resize(picture[0, ..., ::-1], (48, 48), interpolation=cv2.INTER_NEAREST)
    _, expected = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 30])
    assert (tmp_path / "train/a/a_00000.jpg").read_bytes() == expected.tobytes()


def test_other_labels_make_another_digest():
    pictures = np.zeros((2, 4, 4, 3), np.uint8)
    one, other = (folders.content_digest({"train": (pictures, labels)}) for labels in ([0, 1], [1, 0]))
    assert one != other
