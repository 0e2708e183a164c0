"""Pictures vary as the dice say and no other way; every picture of an epoch comes once, with its label."""

import os

import cv2
import keras
import numpy as np
import pytest
from PIL import Image, ImageEnhance
from PIL.PngImagePlugin import PngInfo
from test_cifar100 import binary_files, expect, made_up_records, write

from mbv2_lib import augmentation, folders, pipeline, shapes100
from mbv2_lib.augmentation import Augmentation, bilinear, boxes, draw, enlarge, mixed_targets, recoloured, vary, warped
from mbv2_lib.files import UserError
from mbv2_lib.recipes import RECIPES


def pictures(count=6, size=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def dice(settings, count=6, size=16, seed=1):
    return draw(Augmentation(**settings), np.random.default_rng(seed), count, size)


def test_no_augmentation_leaves_pictures_as_they_are():
    assert dice({}) == {}
    np.testing.assert_array_equal(vary(pictures(), {}), pictures())


def test_a_flip_is_numpys_flip_for_about_half_of_the_pictures():
    given = pictures(200)
    varied = np.asarray(vary(given, dice({"flip": True}, 200)))
    mirrored = [np.array_equal(one, old[:, ::-1]) for one, old in zip(varied, given, strict=True)]
    kept = [np.array_equal(one, old) for one, old in zip(varied, given, strict=True)]
    assert sum(mirrored) + sum(kept) == 200 and 70 < sum(mirrored) < 130


def test_shifts_alone_are_whole_pixels_and_blur_nothing():
    given = pictures(50)
    thrown = dice({"shift": 0.25}, 50)
    varied = np.asarray(vary(given, thrown))
    for old, new, warp in zip(given, varied, thrown["warp"], strict=True):
        right, down = int(warp[2]), int(warp[5])
        assert (right, down) == (warp[2], warp[5]) and max(abs(right), abs(down)) <= 4
        rows = np.clip(np.arange(16) + down, 0, 15)
        columns = np.clip(np.arange(16) + right, 0, 15)
        np.testing.assert_array_equal(new, old[rows][:, columns])


def random_warps(count, size, seed=0):
    """Warps of every kind: turned all round, sheared, mirrored, zoomed and shifted beyond the edge."""
    wild = Augmentation(flip=True, rotation=180, shear=30, zoom=0.5, shift=0.5)
    return draw(wild, np.random.default_rng(seed), count, size)


@pytest.mark.parametrize("size", [64, 97])
def test_the_host_warps_as_the_device_does(size):
    given = cv2.GaussianBlur(pictures(1, size)[0], (0, 0), 3)[None].repeat(40, axis=0)
    thrown = random_warps(40, size)
    on_the_device = np.asarray(vary(given, thrown))
    on_the_host = np.stack([warped(one, warp) for one, warp in zip(given, thrown["warp"], strict=True)])
    assert on_the_host.dtype == np.uint8 and np.ptp(on_the_host) > 20
    difference = np.abs(on_the_device - on_the_host)
    assert difference.max() < 3 and difference.mean() < 0.5  # OpenCV rounds positions to 1/32 of a pixel


def test_flips_and_whole_shifts_are_exact_on_the_host_and_from_four_pixels():
    given = pictures(50)
    thrown = dice({"flip": True, "shift": 0.25}, 50)
    on_the_host = [warped(one, warp) for one, warp in zip(given, thrown["warp"], strict=True)]
    np.testing.assert_array_equal(on_the_host, vary(given, thrown))
    np.testing.assert_array_equal(on_the_host, bilinear(given.astype("float32"), thrown["warp"]))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (17, 29)])
def test_four_pixels_around_each_place_give_keras_own_warp(height, width):
    """The way of JAX, taken on any backend."""
    given = np.random.default_rng(0).uniform(0, 255, (40, height, width, 3)).astype("float32")
    warp = random_warps(40, height)["warp"]
    expected = keras.ops.image.affine_transform(given, warp, interpolation="bilinear", fill_mode="nearest")
    np.testing.assert_allclose(bilinear(given, warp), expected, atol=0.02)


def test_on_jax_a_warp_is_taken_from_four_pixels(monkeypatch):
    monkeypatch.setattr(augmentation, "bilinear", lambda pictures, warps: "from four pixels")
    given = pictures().astype("float32"), random_warps(6, 16)["warp"]
    assert not isinstance(augmentation.warped_on_device(*given), str)
    monkeypatch.setattr(augmentation.keras.config, "backend", lambda: "jax")
    assert augmentation.warped_on_device(*given) == "from four pixels"


@pytest.mark.parametrize(("recipe", "degrees", "lean", "shift"), [("first", 90, 0.2, 0.2), ("long", 15, 10, 0.125)])
def test_a_recipe_turns_leans_zooms_and_shifts_as_far_as_it_says(recipe, degrees, lean, shift):
    warps = draw(RECIPES[recipe].augmentation, np.random.default_rng(0), 5000, 224)["warp"]
    one, other = warps[:, [0, 3]].T, warps[:, [1, 4]].T  # where a step to the right and a step down are read
    lengths = np.hypot(*one), np.hypot(*other)
    mirrored = np.sign(one[0] * other[1] - one[1] * other[0])
    turned = np.degrees(np.arctan2(mirrored * one[1], mirrored * one[0]))
    leaning = np.degrees(np.arcsin((one * other).sum(axis=0) / lengths[0] / lengths[1]))
    for found, most in ((turned, degrees), (leaning, lean), (lengths[0] - 1, 0.2), (lengths[1] - 1, 0.2)):
        assert 0.99 * most < np.abs(found).max() < 1.01 * most
    centre = warps[:, [0, 1, 3, 4]].reshape(-1, 2, 2) @ np.full(2, 111.5) + warps[:, [2, 5]] - 111.5
    assert 0.9 * shift * 224 < np.abs(centre).max() <= shift * 224 + 1e-3


@pytest.mark.parametrize(("number", "enhancer"), [(0, ImageEnhance.Brightness), (2, ImageEnhance.Color)])
def test_brightness_and_saturation_are_pillows(number, enhancer):
    given = pictures(8)
    factors = np.ones((8, 3), "float32")
    factors[:, number] = np.linspace(0, 1.8, 8)
    found = recoloured(given.astype("float32"), factors)
    expected = [enhancer(Image.fromarray(one)).enhance(row[number]) for one, row in zip(given, factors, strict=True)]
    np.testing.assert_allclose(found, np.stack(expected), atol=2)  # Pillow rounds the grey, and then the mixture


def test_contrast_spreads_grey_levels_about_the_middle_one():
    given = pictures(2).astype("float32")
    flat, steep = np.asarray(recoloured(given, np.array([[1, 0.5, 1], [1, 1.5, 1]], "float32")))
    np.testing.assert_allclose(flat, 63.75 + given[0] / 2, atol=1e-3)
    np.testing.assert_allclose(steep, np.clip(1.5 * given[1] - 63.75, 0, 255), atol=1e-3)


def test_saturation_comes_before_brightness_and_contrast_and_only_the_end_is_clipped():
    found = recoloured(np.float32([[[[200, 100, 50]]]]), np.float32([[1.4, 0.5, 1.8]]))  # on the way 365 and -13
    np.testing.assert_allclose(found, [[[[246.198, 120.198, 57.198]]]], atol=1e-3)


def test_pictures_are_recoloured_before_they_are_mixed_and_greyed_out():
    given, thrown = pictures(40), dice({"colour": 0.4, "erase": 0.5, "mixup": 0.4}, 40)
    colour = thrown.pop("colour")
    expected = vary(recoloured(given.astype("float32"), colour), thrown)
    np.testing.assert_array_equal(vary(given, thrown | {"colour": colour}), expected)


def test_a_colour_varies_by_as_much_as_is_said_and_changes_no_other_die():
    factors = draw(RECIPES["long"].augmentation, np.random.default_rng(0), 1000, 8)["colour"]
    assert (np.abs(factors - 1).max(axis=0) < 0.4001).all() and (np.ptp(factors, axis=0) > 0.78).all()
    assert np.abs(np.corrcoef(factors.T) - np.eye(3)).max() < 0.1
    others = {"flip": True, "shift": 0.2, "erase": 0.5, "cutmix": 1.0}
    with_colour = dice(others | {"colour": 0.4})
    assert with_colour.pop("colour").shape == (6, 3)
    assert all(np.array_equal(with_colour[name], value) for name, value in dice(others).items())


def test_erased_boxes_are_grey_and_the_rest_is_untouched():
    given = pictures(40)
    thrown = dice({"erase": 0.5}, 40)
    varied = np.asarray(vary(given, thrown))
    places = (np.arange(16) + 0.5) / 16
    erased = np.stack(
        [
            np.outer((top <= places) & (places < bottom), (left <= places) & (places < right))
            for top, left, bottom, right in thrown["erase"]
        ]
    )
    assert 0.05 < erased[erased.any(axis=(1, 2))].mean() < 0.2
    assert 10 <= erased.any(axis=(1, 2)).sum() <= 30
    assert (varied[erased] == augmentation.GREY).all()
    np.testing.assert_array_equal(varied[~erased], given[~erased])


@pytest.mark.parametrize("settings", [{"mixup": 0.4}, {"cutmix": 1.0}])
def test_targets_are_mixed_by_the_share_of_pixels(settings):
    """Pictures of one flat value each: the mean of a mixed picture tells how much of each it shows."""
    values = np.arange(20, dtype="float32") * 12
    given = np.tile(values[:, None, None, None], (1, 128, 128, 3))
    thrown = dice(settings, 20, 128)
    mixed = np.asarray(vary(given, thrown))
    targets = mixed_targets(np.eye(20, dtype="float32"), thrown)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(mixed.mean(axis=(1, 2, 3)), targets @ values, atol=2)
    assert len(np.unique(mixed[0])) == (2 if "cutmix" in settings and targets[0].max() < 1 else 1)


def test_a_batch_is_mixed_in_one_of_two_ways():
    shares = [draw(RECIPES["modern"].augmentation, np.random.default_rng(seed), 8, 32)["share"] for seed in range(20)]
    assert {bool(share.any()) for share in shares} == {True, False}  # mixup keeps a share of the box, CutMix nothing


def test_boxes_lie_inside_and_cover_what_was_asked():
    found = boxes(np.random.default_rng(0), np.full(1000, 0.25))
    assert found.min() >= 0 and found.max() <= 1
    area = (found[:, 2] - found[:, 0]) * (found[:, 3] - found[:, 1])
    assert area.max() == pytest.approx(0.25) and area.min() > 0.05


def test_enlarging_agrees_with_opencv():
    small = pictures(3, 32)
    expected = [cv2.resize(one.astype("float32"), (224, 224), interpolation=cv2.INTER_LINEAR) for one in small]
    np.testing.assert_allclose(enlarge(small, 224), expected, atol=0.02)


# -- batches -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    """Three pictures of each of four classes, each recognizable by its first pixel."""
    images, labels = pictures(12, 32, seed=5), np.repeat(np.arange(4), 3)
    images[:, 0, 0, 0] = np.arange(12)
    return images, labels


def plan_of(labels, **settings):
    return pipeline.Plan(labels, 4, **{"batch": 5, "size": 32, "augmentation": Augmentation(), **settings})


def epoch_of(batches, steps):
    inputs, targets = zip(*(next(batches) for _ in range(steps)), strict=True)
    return np.concatenate([np.asarray(one["pictures"]) for one in inputs]), np.concatenate(targets)


def test_every_picture_of_an_epoch_comes_once_with_its_label(small):
    images, labels = small
    plan = plan_of(labels)
    batches = pipeline.training_batches(pipeline.Split(images, labels), plan)
    orders = []
    for _ in range(3):
        seen, targets = epoch_of(batches, plan.steps)
        order = seen[:, 0, 0, 0]
        assert sorted(order) == list(range(12))
        np.testing.assert_array_equal(targets.argmax(axis=1), labels[order])
        np.testing.assert_array_equal(seen, images[order])
        orders.append(tuple(order))
    assert len(set(orders)) == 3


def test_shuffling_is_over_the_whole_set():
    plan = pipeline.Plan(np.zeros(20_000, int), 1, 100, 32, Augmentation())
    rows, _, _ = next(plan.epoch(0))
    assert rows.std() == pytest.approx(20_000 / np.sqrt(12), rel=0.2)


def test_every_batch_epoch_and_seed_has_dice_of_its_own():
    thrown, orders = [], []
    for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1)):
        plan = pipeline.Plan(np.zeros(12, int), 1, 4, 32, Augmentation(flip=True, shift=0.5), seed)
        batches = list(plan.epoch(epoch))
        thrown += [dice["warp"].tobytes() for _, dice, _ in batches]
        orders.append(tuple(np.concatenate([rows for rows, *_ in batches])))
    assert len(set(thrown)) == 12 and len(set(orders)) == 4


def test_no_batch_is_left_that_devices_could_not_share():
    plan = pipeline.Plan(np.zeros(13, int), 1, 4, 32, Augmentation(), multiple_of=2)
    assert [len(rows) for rows, *_ in plan.epoch(0)] == [4, 4, 4]


def test_an_epoch_is_the_same_whether_the_run_began_there_or_before(small):
    images, labels = small
    plan = plan_of(labels, augmentation=RECIPES["modern"].augmentation, seed=3)
    through = pipeline.training_batches(pipeline.Split(images, labels), plan)
    for _ in range(2 * plan.steps):
        next(through)
    resumed = pipeline.training_batches(pipeline.Split(images, labels), plan, first_epoch=2)
    for _ in range(plan.steps):
        for one, other in zip(keras.tree.flatten(next(through)), keras.tree.flatten(next(resumed)), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def folder(small, tmp_path_factory):
    """The same pictures as folders of classes whose text order is not the order of their labels."""
    images, labels = small
    out = tmp_path_factory.mktemp("data") / "small"
    splits = {"train": (images, labels), "validation": (images[::3], labels[::3])}
    folders.write_folders(out, splits, ["ten", "two", "one", "nine"], size=48, quality=100, progress=False)
    return out


def test_folders_keep_the_data_sets_order_of_classes(folder, small):
    data = pipeline.open_data(folder)
    assert data.classes == ["ten", "two", "one", "nine"]
    np.testing.assert_array_equal(np.bincount(data.train.labels), [3, 3, 3, 3])
    for path, label in zip(data.train.pictures, data.train.labels, strict=True):
        assert f"/{data.classes[label]}/" in str(path)


def test_batches_from_folders_hold_what_opencv_reads(folder):
    data = pipeline.open_data(folder)
    plan = plan_of(data.train.labels, size=48)
    seen, targets = epoch_of(iter(pipeline.training_batches(data.train, plan)), plan.steps)
    expected = np.stack([cv2.imread(str(path))[..., ::-1] for path in data.train.pictures])
    rows = [next(row for row, one in enumerate(expected) if np.array_equal(one, picture)) for picture in seen]
    assert sorted(rows) == list(range(12))  # each once
    np.testing.assert_array_equal(targets.argmax(axis=1), data.train.labels[rows])


def test_folders_give_what_arrays_give_warped_and_mixed(folder):
    """The same plan over the same pictures: from files warped on the host, from an array on the device."""
    data = pipeline.open_data(folder)
    everything = Augmentation(flip=True, rotation=20, zoom=0.2, shift=0.1, erase=0.5, mixup=0.4, colour=0.4)
    plan = plan_of(data.train.labels, size=48, augmentation=everything)
    read = pipeline.read_pictures(data.train.pictures, 48)
    smooth = pipeline.Split(np.stack([cv2.GaussianBlur(one, (0, 0), 3) for one in read]), data.train.labels)
    for place, picture in enumerate(smooth.pictures):  # PNG, so that the files hold the array to the bit
        cv2.imwrite(str(folder.parent / f"{place}.png"), picture[..., ::-1])
    files = data.train._replace(pictures=[folder.parent / f"{place}.png" for place in range(len(read))])
    from_files, from_arrays = (iter(pipeline.training_batches(split, plan)) for split in (files, smooth))
    for _ in range(2 * plan.steps):
        (inputs, targets), (expected, same_targets) = next(from_files), next(from_arrays)
        assert "warp" not in inputs and "warp" in expected and "colour" in inputs
        np.testing.assert_array_equal(targets, same_targets)
        difference = vary(inputs.pop("pictures"), inputs) - vary(expected.pop("pictures"), expected)
        assert np.abs(difference).max() < 3


def test_a_run_from_folders_goes_on_with_the_dice_that_it_would_have_thrown(folder):
    data = pipeline.open_data(folder)
    plan = plan_of(data.train.labels, size=48, augmentation=RECIPES["first"].augmentation, seed=3)
    through, resumed = (iter(pipeline.training_batches(data.train, plan, first_epoch=epoch)) for epoch in (0, 1))
    for _ in range(plan.steps):
        next(through)
    for _ in range(plan.steps):
        for one, other in zip(keras.tree.flatten(next(through)), keras.tree.flatten(next(resumed)), strict=True):
            np.testing.assert_array_equal(one, other)


def test_on_jax_batches_from_folders_are_the_same_in_memory_of_their_own(folder, monkeypatch):
    """JAX computes on them later than TensorFlow keeps them: in shared memory a loss became nan within an epoch."""
    data = pipeline.open_data(folder)
    plan = plan_of(data.train.labels, size=48, augmentation=RECIPES["modern"].augmentation, seed=3)
    expected = iter(pipeline.training_batches(data.train, plan))
    monkeypatch.setattr(augmentation.keras.config, "backend", lambda: "jax")
    found = pipeline.training_batches(data.train, plan)
    for _ in range(plan.steps):
        for one, other in zip(keras.tree.flatten(next(found)), keras.tree.flatten(next(expected)), strict=True):
            assert isinstance(one, np.ndarray) and one.flags.owndata
            np.testing.assert_array_equal(one, other)


def test_a_picture_that_can_not_be_read_is_named(tmp_path):
    (tmp_path / "cut.jpg").write_bytes(cv2.imencode(".jpg", pictures(1, 24)[0])[1].tobytes()[:-9])
    for name, why in (("cut.jpg", "truncated"), ("gone.jpg", "opened")):
        with pytest.raises(UserError, match=f"{name}: expected a whole image, found that it .*{why}"):
            pipeline.read_pictures([tmp_path / name], 24)


def test_png_and_bmp_are_read_as_they_are(tmp_path):
    picture = pictures(1, 24)[0]
    for ending in (".png", ".bmp", ".jpg"):
        cv2.imwrite(str(tmp_path / f"a{ending}"), picture[..., ::-1])
    read = pipeline.read_pictures([tmp_path / f"a{ending}" for ending in (".png", ".bmp", ".jpg")], 24)
    np.testing.assert_array_equal(read[0], picture)
    np.testing.assert_array_equal(read[1], picture)
    np.testing.assert_array_equal(read[2], cv2.imread(str(tmp_path / "a.jpg"))[..., ::-1])


@pytest.mark.parametrize(("size", "how"), [(24, cv2.INTER_AREA), (96, cv2.INTER_LINEAR)])
def test_pictures_of_another_size_are_resized(folder, size, how):
    data = pipeline.open_data(folder)
    (batch,) = pipeline.evaluation_batches(data.validation, 8, size)
    assert batch.shape == (4, size, size, 3) and batch.dtype == np.uint8
    for path, picture in zip(data.validation.pictures, batch, strict=True):
        original = cv2.imread(path)[..., ::-1]
        np.testing.assert_array_equal(picture, cv2.resize(original, (size, size), interpolation=how))


@pytest.mark.parametrize("inside", ["", "cifar-100-binary/"])
def test_binary_files_are_read_as_arrays(inside, tmp_path, monkeypatch):
    expect(monkeypatch, records := made_up_records())
    data = pipeline.open_data(write(tmp_path, binary_files(records, inside)))
    np.testing.assert_array_equal(data.train.labels, records["train"][:, 1])
    pixels = data.validation.pictures.transpose(0, 3, 1, 2).reshape(-1, 3072)
    np.testing.assert_array_equal(pixels, records["test"][:, 2:])


def test_shapes_are_read_as_arrays(monkeypatch):
    monkeypatch.setattr(pipeline, "SHAPES_PER_CLASS", (3, 1))
    data = pipeline.open_data("shapes100")
    assert data.train.pictures.shape == (300, 32, 32, 3) and data.classes == list(shapes100.CLASSES)
    assert data.digest == pipeline.open_data("shapes100").digest


def test_a_holdout_takes_as_many_of_each_class_and_always_the_same(monkeypatch):
    monkeypatch.setattr(pipeline, "SHAPES_PER_CLASS", (5, 1))
    whole, data, again = pipeline.open_data("shapes100"), *(pipeline.open_data("shapes100", 200) for _ in range(2))
    assert (np.bincount(data.validation.labels) == 2).all() and (np.bincount(data.train.labels) == 3).all()
    np.testing.assert_array_equal(data.validation.pictures, again.validation.pictures)
    together = np.concatenate([data.train.pictures, data.validation.pictures])
    assert {one.tobytes() for one in together} == {one.tobytes() for one in whole.train.pictures}
    for wrong in (150, 500):
        with pytest.raises(UserError, match="--holdout: expected a multiple of the 100 classes"):
            pipeline.open_data("shapes100", wrong)


def test_a_grey_png_with_a_transparent_grey_is_read(tmp_path):
    grey = Image.fromarray(np.arange(64, dtype="uint8").reshape(8, 8))
    grey.save(tmp_path / "grey.png", transparency=5)
    (picture,) = pipeline.read_pictures([str(tmp_path / "grey.png")], 8)
    np.testing.assert_array_equal(picture, np.stack([np.asarray(grey)] * 3, axis=-1))


def test_a_png_whose_text_speaks_of_transparency_is_read(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    text = PngInfo()
    text.add_text("Comment", "about tRNS chunks")
    Image.fromarray(colours).save(tmp_path / "text.png", pnginfo=text)
    (picture,) = pipeline.read_pictures([str(tmp_path / "text.png")], 8)
    np.testing.assert_array_equal(picture, colours)


def test_names_that_are_no_utf8_are_read_as_they_stand(tmp_path):
    for split in folders.SPLITS:
        (tmp_path / split / "a").mkdir(parents=True)
        name = os.path.join(os.fsencode(tmp_path / split / "a"), b"caf\xe9.png")  # noqa: PTH118
        Image.new("RGB", (8, 8)).save(os.fsdecode(name))
    data = pipeline.open_data(tmp_path)
    assert len(data.digest) == 64 and data.classes == ["a"]
    assert pipeline.read_pictures(data.train.pictures, 8).shape == (1, 8, 8, 3)


def test_a_small_parameter_of_mixup_means_nearly_all_or_nothing():
    shares = dice({"mixup": 0.2}, count=20_000, size=8)["share"]
    assert (shares.mean(), shares.var()) == pytest.approx((0.5, 1 / (4 * 1.4)), abs=0.01)  # of Beta(0.2, 0.2)


def test_a_file_that_grew_makes_another_digest(tmp_path):
    splits = {"train": (pictures(2), [0, 1]), "validation": (pictures(2), [0, 1])}
    folders.write_folders(tmp_path, splits, ["a", "b"], size=16, progress=False)
    before = pipeline.open_data(tmp_path).digest
    assert pipeline.open_data(tmp_path).digest == before
    with next(tmp_path.glob("train/a/*.jpg")).open("ab") as file:
        file.write(b" ")
    assert pipeline.open_data(tmp_path).digest != before
