"""`check` tells an empty answer from a wrong one and a wrong one from a right one, and never fails itself."""

import numpy as np
import pytest

from mbv2_lib import augmentation, exercises
from mbv2_lib.backend import keras
from mbv2_lib.evaluation import evaluate, in_top
from mbv2_lib.exercises import EXERCISES, Exercise, check, hint, verdict, whole
from mbv2_lib.files import UserError

NAMES = list(EXERCISES)


@pytest.fixture(autouse=True)
def two_more(monkeypatch):
    """Two exercises beside the real ones: a function of numbers and one of an array."""
    more = {
        "area": Exercise("Multiply.", lambda rng: {"h": whole(rng, 3, 9), "w": whole(rng, 3, 9)}, lambda h, w: h * w),
        "swap": Exercise(
            "Turn the last axis round.",
            lambda rng: {"picture": rng.integers(0, 256, (4, 5, 3))},
            lambda picture: picture[..., ::-1],
        ),
    }
    monkeypatch.setattr(exercises, "EXERCISES", EXERCISES | more)


def unfinished(h, w): ...


def refusing(h, w):
    raise NotImplementedError


def dots(h, w):
    return ...


@pytest.mark.parametrize("answer", [None, ..., (3, ...), [None], unfinished, refusing, dots])
def test_an_untouched_stub_is_not_answered_yet(answer, capsys):
    check("area", answer)
    assert capsys.readouterr().out == (
        'Not answered yet: fill in the dots and run this cell again. hint("area") helps.\n'
    )


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("area", lambda h, w: h * w),
        ("area", lambda rows, columns: np.float32(rows * columns)),
        ("swap", lambda picture: np.flip(picture, -1)),
    ],
)
def test_a_right_answer_is_right(name, answer, capsys):
    check(name, answer)
    assert capsys.readouterr().out == "Right. Well done.\n"


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("area", lambda h, w: h + w, "for h=5, w=6 expected 30, found 11."),
        ("area", lambda h, w: "much", "for h=5, w=6 expected 30, found much."),
        ("area", lambda h, w: [h, w], "for h=5, w=6 expected 30, found [5, 6]."),
        ("area", lambda h, w: 1 / 0, "for h=5, w=6 your code raised ZeroDivisionError: division by zero."),
        ("area", lambda h: h, "for h=5, w=6 your code raised TypeError"),
        ("area", 30, "for h=5, w=6 your code raised TypeError: 'int' object is not callable."),
        (
            "swap",
            lambda picture: picture,
            "for picture=an array of shape (4, 5, 3) expected 35 at (0, 0, 0), found 78.",
        ),
        ("swap", lambda picture: picture[0], "expected a result of shape (4, 5, 3), found (5, 3)."),
        ("swap", lambda picture: "abc", "found abc."),
        ("swap", lambda picture: [1, [2, 3]], "looking at your answer raised ValueError"),
    ],
)
def test_a_wrong_answer_gets_a_difference_and_the_hint(name, answer, said, capsys):
    check(name, answer)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("Not yet: ")
    assert said in first
    assert second == f'hint("{name}") helps.'


def test_an_answer_that_writes_on_its_input_is_judged_by_its_result():
    def in_place(picture):
        picture[:] = picture[..., ::-1].copy()
        return picture

    assert verdict("swap", in_place).startswith("Right")


def nearly_the_same(train, validation):
    both = np.concatenate([train, train[:, :, ::-1]])
    distances = abs(validation.astype(int)[:, None] - both).max(axis=(2, 3, 4))
    return np.flatnonzero(distances.min(axis=1) <= 1)


def not_the_mirrored(train, validation):
    return [row for row, picture in enumerate(validation) if (picture == train).all(axis=(1, 2, 3)).any()]


def turned_upside_down(train, validation):
    return not_the_mirrored(np.concatenate([train, train[:, :, ::-1], train[:, ::-1]]), validation)


def plain_momentum(weight, gradient, velocity, learning_rate, momentum):
    return weight + momentum * velocity - learning_rate * gradient


def in_int8_all_the_way(codes, zero_point, weights, factors, zero_point_out):
    sums = (codes - np.int8(zero_point)) @ weights
    return np.clip(np.round(sums * factors) + zero_point_out, -128, 127)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("01-largest-expansion", lambda channels: 4),
        ("03-leaked", nearly_the_same),
        ("03-leaked", not_the_mirrored),
        ("03-leaked", turned_upside_down),
        ("04-nesterov", plain_momentum),
        ("05-temperature", lambda probabilities, labels, temperatures: 1.0),
        ("06-resampled", lambda one, other, exams: np.hypot(one[exams].mean(1).std(), other[exams].mean(1).std())),
        ("08-integers", in_int8_all_the_way),
        ("04-forget", lambda momentum, left: int(np.log(left) / np.log(momentum)) + 1),  # one too many where it is even
    ],
)
def test_a_mistake_that_is_easily_made_is_found(name, answer):
    assert verdict(name, answer).startswith("Not yet: for ")


def test_a_sometimes_wrong_answer_is_found():
    assert verdict("area", lambda h, w: h * w if h < 9 else 0).startswith("Not yet: for h=9")


def test_a_hint_is_printed(capsys):
    hint("area")
    assert capsys.readouterr().out == "Multiply.\n"


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match="aria: expected the name of an exercise.*area"):
        check("aria", 3)


@pytest.mark.parametrize("name", NAMES)
def test_an_exercise_of_the_series(name):
    assert isinstance(EXERCISES[name], Exercise)
    assert len(EXERCISES[name].hint) > 20
    for empty in (None, ..., lambda *inputs: None, lambda *inputs: ...):
        assert verdict(name, empty).startswith("Not answered yet")
    for wrong in (-12345, "text", [1, 2], lambda *inputs: -12345, lambda *inputs: "text", lambda *inputs: inputs):
        assert verdict(name, wrong).startswith("Not yet")
        assert verdict(name, wrong) == verdict(name, wrong)


def one_sum_after_another(codes, zero_point, weights, factors, zero_point_out):
    """In plain Python's numbers, which never run over."""
    columns = list(zip(*weights.tolist(), strict=True))
    sums = [
        [sum((c - zero_point) * w for c, w in zip(row, column, strict=True)) for column in columns]
        for row in codes.tolist()
    ]
    return [
        [min(max(round(s * f) + zero_point_out, -128), 127) for s, f in zip(row, factors, strict=True)] for row in sums
    ]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("08-code", lambda x, s, z: [min(max(round(v / s + z), -128), 127) for v in x]),
        ("08-range", lambda low, high: ((high - low) / 255, round(-128 - 255 * low / (high - low)))),
        ("08-integers", one_sum_after_another),
    ],
)
def test_the_exercises_on_quantization_take_an_answer_that_is_counted_another_way(name, answer):
    assert verdict(name, answer) == "Right. Well done."


def by_keras(weight, gradient, velocity, learning_rate, momentum):
    """A step of Keras's own optimizer, from this velocity."""
    variable = keras.Variable(weight, dtype="float32")
    optimizer = keras.optimizers.SGD(learning_rate, momentum, nesterov=True)
    optimizer.build([variable])
    optimizer.momentums[0].assign(velocity)
    optimizer.apply([keras.ops.array(gradient, "float32")])
    return np.asarray(variable)


def by_vary(pictures, partner, share):
    """What the training does to a batch of mixup."""
    everywhere = np.tile(np.float32([0, 0, 1, 1]), (len(pictures), 1))
    dice = {"partner": partner, "mix": everywhere, "share": share.astype("float32")}
    return np.asarray(augmentation.vary(pictures.astype("float32"), dice))


def by_scores(probabilities, labels, temperatures):
    """The temperature of which `evaluate` finds the lowest loss, with probabilities as Keras's softmax of scores."""
    scores = np.log(probabilities)
    losses = [evaluate(np.asarray(keras.ops.softmax(scores / t)), labels)["loss"] for t in temperatures]
    return temperatures[int(np.argmin(losses))]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("00-top-k", lambda probabilities, labels, k: in_top(probabilities, labels, k).mean()),
        ("03-mixup", by_vary),
        ("04-nesterov", by_keras),
        ("05-temperature", by_scores),
    ],
)
def test_the_exercises_on_training_ask_for_what_keras_and_the_library_do(name, answer):
    assert verdict(name, answer) == "Right. Well done."


def beaten_one_by_one(costs, accuracies):
    """Pair by pair, in plain Python; in every figure less is better."""
    figures = [(*row, -accuracy) for row, accuracy in zip(costs.tolist(), accuracies.tolist(), strict=True)]

    def beats(other, mine):
        return other != mine and all(theirs <= ours for theirs, ours in zip(other, mine, strict=True))

    return [any(beats(other, mine) for other in figures) for mine in figures]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("07-intensity", lambda h, w, c, f: 0.25 / (1 / f + 1 / c + 1 / (h * w))),
        ("07-cheapest", lambda costs, top1, wanted: min((c, i) for i, c in enumerate(costs) if top1[i] >= wanted)[1]),
        ("07-beaten", beaten_one_by_one),
    ],
)
def test_the_exercises_on_trade_offs_take_an_answer_that_is_counted_another_way(name, answer):
    assert verdict(name, answer) == "Right. Well done."


def test_whoever_forgets_a_cost_or_takes_a_network_as_its_own_rival_is_told():
    def of_one_cost(costs, accuracies):
        return beaten_one_by_one(costs[:, :1], accuracies)

    def no_worse(costs, accuracies):
        return [
            ((costs <= row).all(axis=1) & (accuracies >= a)).any() for row, a in zip(costs, accuracies, strict=True)
        ]

    assert verdict("07-beaten", of_one_cost).startswith("Not yet")
    assert verdict("07-beaten", no_worse).startswith("Not yet")
