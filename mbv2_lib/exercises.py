"""The exercises that end each notebook: `check` looks at an answer, `hint` gives a push.

An answer is a function; it is tried on random inputs and compared with one of ours. What the reader sees is a line or
two, the same each time: "Not answered yet", a difference that helps, or "Right".
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mbv2_lib.costs import inverted_residual_cost, network_cost
from mbv2_lib.evaluation import cross_entropy, in_top
from mbv2_lib.files import UserError

TRIES = 20


class Exercise(NamedTuple):
    """A push in the right direction, a function of a NumPy Generator that draws arguments, and the right answer."""

    hint: str
    inputs: Callable
    right: Callable


def check(name, answer):
    """Print what there is to say of the reader's `answer` (a function) to the exercise `name`."""
    print(verdict(name, answer))


def hint(name):
    """Print a push in the right direction for the exercise `name`."""
    print(find(name).hint)


def verdict(name, answer):
    """What `check` prints: a text that begins with "Right", "Not yet" or "Not answered yet"."""
    exercise = find(name)
    try:
        problem = problem_of(exercise, given(answer))
    except NotImplementedError:
        return f'Not answered yet: fill in the dots and run this cell again. hint("{name}") helps.'
    except Exception as error:  # a result that NumPy cannot compare, such as a ragged list
        problem = f"looking at your answer raised {type(error).__name__}: {error}"
    return "Right. Well done." if problem is None else f'Not yet: {problem}.\nhint("{name}") helps.'


def problem_of(exercise, answer):
    """One sentence on what is wrong with the answer, or None where it is right on every try."""
    rng = np.random.default_rng(2018)
    for _ in range(TRIES):
        inputs = exercise.inputs(rng)
        expected = exercise.right(**inputs)
        try:  # by place, for her names for the inputs may differ; on copies, for she may write on them
            found = given(answer(*copy.deepcopy(list(inputs.values()))))
        except NotImplementedError:
            raise
        except Exception as error:
            return f"{told(inputs)}your code raised {type(error).__name__}: {error}"
        if wrong := difference(expected, found):
            return told(inputs) + wrong
    return None


def find(name):
    """The exercise of that name. Raises UserError, which lists the names, where there is none."""
    if name not in EXERCISES:
        raise UserError(
            f"{name}: expected the name of an exercise, found none like it; there are {', '.join(EXERCISES)}"
        )
    return EXERCISES[name]


def given(answer):
    """`answer`, unless it is (or holds) the dots or None. Raises NotImplementedError then."""
    parts = answer if isinstance(answer, tuple | list) else [answer]
    if any(part is None or part is ... for part in parts):
        raise NotImplementedError
    return answer


def told(inputs):
    """The inputs as the beginning of a sentence: "for h=7, w=9 "."""
    return "for " + ", ".join(f"{name}={short(value)}" for name, value in inputs.items()) + " "


def short(value):
    """A value as a reader wants to see it in a sentence: a large array by its shape, a float by five digits."""
    if np.ndim(value) and np.size(value) > 8:
        return f"an array of shape {np.shape(value)}"
    if np.ndim(value):
        return str(np.round(value, 4).tolist() if np.asarray(value).dtype.kind == "f" else np.asarray(value).tolist())
    return f"{value:.5g}" if isinstance(value, float | np.floating) else str(value)


def difference(expected, found):
    """What tells `found` from `expected`, as a piece of a sentence, or None. Numbers may differ by rounding."""
    as_a_whole = f"expected {short(expected)}, found {short(found)}"
    if isinstance(expected, bool) or isinstance(found, str | dict):
        return None if np.ndim(expected) == 0 and expected == found else as_a_whole
    one, other = np.asarray(expected), np.asarray(found)
    if one.shape != other.shape:
        return f"expected a result of shape {one.shape}, found {other.shape}" if one.ndim else as_a_whole
    wrong = ~np.isclose(one, other, rtol=1e-4, atol=1e-6)
    if not wrong.any():
        return None
    if one.size <= 8:
        return as_a_whole
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"expected {short(one[place].item())} at {place}, found {short(other[place].item())}"


def whole(rng, low, high):
    """A random whole number from `low` to `high`, both included, as a Python int (which prints as a reader expects)."""
    return int(rng.integers(low, high + 1))


def _some_answers(rng):
    classes = whole(rng, 5, 12)
    probabilities = rng.dirichlet(np.ones(classes), whole(rng, 4, 9))
    labels = rng.integers(0, classes, len(probabilities))
    return {"probabilities": probabilities, "labels": labels, "k": whole(rng, 1, 5)}


def random_table(rng):
    """Two rows (t, c, n, s) like those of the paper's Table 2, often with as many channels as came before."""
    t, c, n, s = (rng.integers(low, high + 1, 2).tolist() for low, high in ((1, 8), (2, 3), (1, 4), (1, 2)))
    return {"rows": [(t[row], 8 * c[row], n[row], s[row]) for row in range(2)], "channels": 8 * whole(rng, 2, 3)}


def count_shortcuts(rows, channels):
    count = 0
    for _, filters, repeats, strides in rows:
        count += repeats - 1 + (strides == 1 and channels == filters)
        channels = filters
    return count


def widest(budget, resolution):
    widths = [round(0.05 * step, 2) for step in range(7, 29)]
    return max(width for width in widths if network_cost(width, resolution=resolution).madds <= budget)


def field_of_view(strides):
    field = step = 1
    for stride in strides:
        field += 2 * step
        step *= stride
    return field


def _some_leaked(rng):
    train = rng.integers(0, 256, (whole(rng, 5, 9), 4, 4, 3), np.uint8)
    validation = rng.integers(0, 256, (whole(rng, 5, 8), 4, 4, 3), np.uint8)
    rows = rng.permutation(len(validation))[: whole(rng, 1, 3)]
    validation[rows] = train[: len(rows)]
    others = np.setdiff1d(np.arange(len(validation)), rows)
    validation[others[0]] = train[0]
    validation[others[0], -1, -1, -1] ^= 1  # nearly a copy
    mirrored = rng.random(len(validation)) < 0.5
    validation[mirrored] = validation[mirrored, :, ::-1]
    validation[others[1]] = train[1, ::-1]  # upside down: another picture
    return {"train": train, "validation": validation}


def rows_of_copies(train, validation):
    known = {picture.tobytes() for picture in [*train, *train[:, :, ::-1]]}
    return [row for row, picture in enumerate(validation) if picture.tobytes() in known]


def _some_to_mix(rng):
    """Pictures (n, 4, 4, 3) in 0..255, the place of each one's partner, and the share that stays of each, (n,)."""
    count = whole(rng, 3, 6)
    return {
        "pictures": rng.uniform(0, 255, (count, 4, 4, 3)).round(1),
        "partner": rng.permutation(count),
        "share": rng.beta(1, 1, count).round(2),
    }


def mixed(pictures, partner, share):
    share = share[:, None, None, None]
    return share * pictures + (1 - share) * pictures[partner]


def _schedule(rng):
    """A step of a run, with the run's length, its warm-up and its highest learning rate."""
    steps, warmup = whole(rng, 200, 900), whole(rng, 10, 99)
    return {"step": whole(rng, 0, steps), "steps": steps, "warmup": warmup, "highest": whole(rng, 1, 40) / 100}


def learning_rate(step, steps, warmup, highest):
    if step < warmup:
        return highest * step / warmup
    return highest * (1 + np.cos(np.pi * (step - warmup) / (steps - warmup))) / 2


def _some_momentum(rng):
    """Two weights with their gradients and velocities, the learning rate and the momentum."""
    weight, gradient, velocity = rng.normal(size=(3, 2)).round(2)
    rates = {"learning_rate": whole(rng, 1, 40) / 100, "momentum": whole(rng, 50, 99) / 100}
    return {"weight": weight, "gradient": gradient, "velocity": velocity, **rates}


def after_a_step_of_nesterov(weight, gradient, velocity, learning_rate, momentum):
    velocity = momentum * velocity - learning_rate * gradient
    return weight + momentum * velocity - learning_rate * gradient


def _some_memory(rng):
    if rng.random() < 0.3:  # exactly the share `left` after a few steps
        return {"momentum": 0.5, "left": 0.5 ** whole(rng, 1, 4)}
    return {"momentum": whole(rng, 50, 999) / 1000, "left": whole(rng, 1, 60) / 100}


def steps_to_forget(momentum, left):
    steps, share = 0, 1.0
    while share > left:
        steps, share = steps + 1, share * momentum
    return steps


def _modest_or_too_sure(rng):
    """Probabilities of 60 pictures with labels drawn from their power 1 / T: too modest or too sure, as T says."""
    probabilities = rng.dirichlet(np.ones(whole(rng, 4, 8)), 60)
    truth = with_temperature(probabilities, rng.choice([0.4, 0.7, 1.5, 3.0]))
    labels = np.array([rng.choice(len(row), p=row) for row in truth])
    return {"probabilities": probabilities, "labels": labels, "temperatures": [0.4, 0.7, 1.0, 1.5, 3.0]}


def with_temperature(probabilities, temperature):
    powers = probabilities ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def temperature_of_lowest_loss(probabilities, labels, temperatures):
    return min(temperatures, key=lambda t: cross_entropy(with_temperature(probabilities, t), labels))


def _some_leaked_exam(rng):
    clean, leaked, on_copies = rng.uniform((0.05, 0.05, 0.9), (0.9, 0.8, 1)).tolist()
    return {"measured": leaked * on_copies + (1 - leaked) * clean, "leaked": leaked, "on_copies": on_copies}


def _some_exams(rng):
    """Who was right on 30 pictures, one network and another; and 50 exams of 30 pictures drawn from these."""
    one, other = rng.random((2, 30)) < rng.uniform(0.3, 0.9, (2, 1))
    return {"one": one, "other": other, "exams": rng.integers(0, 30, (50, 30))}


def pointwise_madds_per_byte(h, w, channels, filters):
    moved = h * w * channels + channels * filters + h * w * filters
    return h * w * channels * filters / (4 * moved)


def _some_networks(rng):
    """Costs (n, 2) and accuracies (n,), whole numbers so that some are equal."""
    count = whole(rng, 4, 8)
    return {"costs": rng.integers(1, 6, (count, 2)), "accuracies": rng.integers(50, 56, count)}


def _some_networks_and_a_wish(rng):
    costs, accuracies = _some_networks(rng).values()
    return {"costs": costs[:, 0] * 10 + np.arange(len(costs)), "accuracies": accuracies, "wanted": accuracies[0].item()}


def beaten_rows(costs, accuracies):
    figures = np.column_stack([costs, -accuracies])  # less is better in every column
    no_worse = (figures[None] <= figures[:, None]).all(axis=2)
    better = (figures[None] < figures[:, None]).any(axis=2)
    return (no_worse & better).any(axis=1)


def scale_and_zero_point(lowest, highest):
    scale = (highest - lowest) / 255
    return scale, round(-128 - lowest / scale)


def _some_codes(rng):
    """A pointwise layer in int8: codes in (n, c), weights (c, f), and what turns a sum into a code."""
    count, channels, filters = whole(rng, 2, 4), whole(rng, 8, 32), whole(rng, 2, 4)
    return {
        "codes": rng.integers(-128, 128, (count, channels), np.int8),
        "zero_point": whole(rng, -128, 127),
        "weights": rng.integers(-127, 128, (channels, filters), np.int8),
        "factors": rng.uniform(0.0005, 0.003, filters).round(5),
        "zero_point_out": whole(rng, -128, 127),
    }


def pointwise_in_int8(codes, zero_point, weights, factors, zero_point_out):
    sums = (codes.astype("int32") - zero_point) @ weights.astype("int32")
    return np.clip(np.round(sums * factors) + zero_point_out, -128, 127)


EXERCISES = {
    # ---- 00_start_here
    "00-chance": Exercise(
        "Of a hundred blind guesses among a hundred classes, one is right. And among ten?",
        lambda rng: {"classes": whole(rng, 2, 1000)},
        lambda classes: 1 / classes,
    ),
    "00-likeliest": Exercise(
        "np.argsort sorts from small to large: sort the negative probabilities, then keep the first k.",
        lambda rng: {"row": rng.dirichlet(np.ones(whole(rng, 8, 20))), "k": whole(rng, 1, 5)},
        lambda row, k: np.argsort(-row)[:k],
    ),
    "00-top-k": Exercise(
        "For each row, ask whether its label is in likeliest(row, k); np.mean of the answers is the share.",
        _some_answers,
        lambda probabilities, labels, k: float(in_top(probabilities, labels, k).mean()),
    ),
    # ---- 01_inverted_residual
    "01-depthwise-cost": Exercise(
        "A depthwise filter has nine weights and sees one channel; it is applied once for each place of the output.",
        lambda rng: {"h": whole(rng, 4, 32), "w": whole(rng, 4, 32), "c": whole(rng, 1, 64)},
        lambda h, w, c: 9 * h * w * c,
    ),
    "01-block-cost": Exercise(
        "Add up three layers. The expansion works before the stride, the filter and the projection after it; where the "
        "expansion is 1 there is no expanding layer.",
        lambda rng: {
            "side": 2 * whole(rng, 2, 28),
            "channels": whole(rng, 4, 64),
            "filters": whole(rng, 4, 64),
            "strides": whole(rng, 1, 2),
            "expansion": whole(rng, 1, 6),
        },
        lambda side, channels, filters, strides, expansion: (
            inverted_residual_cost(channels, filters, strides, expansion, side).madds
        ),
    ),
    "01-largest-expansion": Exercise(
        "Write down both costs at one place, with t for the expansion, divide by the channels, and round t down.",
        lambda rng: {"channels": whole(rng, 8, 64)},  # from 36 on the answer is four
        lambda channels: 9 * channels // (2 * channels + 9),
    ),
    # ---- 02_mobilenet_v2
    "02-shortcuts": Exercise(
        "Unfold the table as in the two loops: a block has a shortcut where its stride is 1 and it gives as many "
        "channels as it reads. The first block of a row may have one, too.",
        random_table,
        count_shortcuts,
    ),
    "02-fit-a-budget": Exercise(
        "Go through the widths 0.35, 0.40 ... 1.40, ask costs.network_cost(width, resolution=...).madds for each, "
        "and keep the largest that costs no more than the budget. Make them by dividing, as 75 / 100: np.arange in "
        "steps of 0.05 misses 0.75 by a hair, and rounding then gives other channels.",
        lambda rng: {"budget": whole(rng, 60_000_000, 700_000_000), "resolution": 32 * whole(rng, 3, 7)},
        widest,
    ),
    "02-receptive-field": Exercise(
        "Keep two numbers: the field, and the step, how many pixels of the picture lie between two neighbours. A 3 x 3 "
        "layer widens the field by two steps; only then its stride multiplies the step.",
        lambda rng: {"strides": [whole(rng, 1, 2) for _ in range(whole(rng, 1, 18))]},
        field_of_view,
    ),
    # ---- 03_cifar100_224px
    "03-leaked": Exercise(
        "A picture's tobytes() can stand in a set: put the training pictures there, and their mirrors, which are "
        "train[:, :, ::-1]; then ask for each of the others.",
        _some_leaked,
        rows_of_copies,
    ),
    "03-mixup": Exercise(
        "pictures[partner] puts the partners in order. A share for each picture meets its pixels once it has four "
        "axes, too: share[:, None, None, None].",
        _some_to_mix,
        mixed,
    ),
    "03-mirror": Exercise(
        "Column x is read at column size - 1 - x, and row y at row y. Which a0, a1, a2 and b0, b1, b2 say so?",
        lambda rng: {"size": whole(rng, 2, 224)},
        lambda size: [-1, 0, size - 1, 0, 1, 0, 0, 0],
    ),
    # ---- 04_train
    "04-schedule": Exercise(
        "While step < warmup the rate grows in proportion to the step. After that, half of (1 + cos(pi * x)), where "
        "x runs from 0 at the end of the warm-up to 1 at the last step.",
        _schedule,
        learning_rate,
    ),
    "04-nesterov": Exercise(
        "First the new velocity, as by hand above. Then the weight moves by what that velocity will be one step later "
        "if the gradient stays: momentum times it, less the learning rate times the gradient.",
        _some_momentum,
        after_a_step_of_nesterov,
    ),
    "04-forget": Exercise(
        "After n steps momentum ** n is left. Look for the smallest n with momentum ** n <= left: a loop will do.",
        _some_memory,
        steps_to_forget,
    ),
    # ---- 05_accuracy
    "05-temperature": Exercise(
        "For each temperature: raise the probabilities to the power 1 / temperature, divide each row by its sum, and "
        "take the mean of -log of what the true class got. min(temperatures, key=...) finds the best.",
        _modest_or_too_sure,
        temperature_of_lowest_loss,
    ),
    "05-pictures-needed": Exercise(
        "Solve error = sqrt(p (1 - p) / n) for n, and round up: a third of a picture cannot be taken.",
        lambda rng: {"share": float(rng.uniform(0.05, 0.95)), "error": float(rng.uniform(0.001, 0.05))},
        lambda share, error: int(np.ceil(round(share * (1 - share) / error**2, 6))),  # 100.0000001 is 100
    ),
    "05-clean-accuracy": Exercise(
        "measured is a mean of two accuracies with the weights leaked and 1 - leaked; solve for the one on the rest.",
        _some_leaked_exam,
        lambda measured, leaked, on_copies: (measured - leaked * on_copies) / (1 - leaked),
    ),
    # ---- 06_fine_tune
    "06-head": Exercise(
        "A dense layer has one weight for each pair of a feature and a class, and one bias a class.",
        lambda rng: {"features": whole(rng, 16, 1280), "classes": whole(rng, 2, 1000)},
        lambda features, classes: features * classes + classes,
    ),
    "06-resampled": Exercise(
        "one[exams] has a row for each exam. The mean along axis 1 gives each exam's share; take the difference, then "
        "np.std.",
        _some_exams,
        lambda one, other, exams: float((one[exams].mean(axis=1) - other[exams].mean(axis=1)).std()),
    ),
    "06-gain": Exercise(
        "The variance of a share p of n pictures is p (1 - p) / n. Of a difference, the variances add; the standard "
        "error is the square root of the sum.",
        lambda rng: {
            "one": whole(rng, 5, 95) / 100,
            "other": whole(rng, 5, 95) / 100,
            "pictures": whole(rng, 50, 2000),
        },
        lambda one, other, pictures: (one - other, np.sqrt((one * (1 - one) + other * (1 - other)) / pictures)),
    ),
    # ---- 07_trade_offs
    "07-intensity": Exercise(
        "At each of the h * w places the layer does channels * filters multiply-adds. It reads h * w * channels "
        "values and channels * filters weights and writes h * w * filters values, each of four bytes.",
        lambda rng: {
            "h": whole(rng, 1, 56),
            "w": whole(rng, 1, 56),
            "channels": 8 * whole(rng, 1, 40),
            "filters": 8 * whole(rng, 1, 40),
        },
        pointwise_madds_per_byte,
    ),
    "07-cheapest": Exercise(
        "Give the rows that are not accurate enough an infinite cost: np.where(accuracies >= wanted, costs, np.inf). "
        "Then argmin.",
        _some_networks_and_a_wish,
        lambda costs, accuracies, wanted: int(np.where(accuracies >= wanted, costs, np.inf).argmin()),
    ),
    "07-beaten": Exercise(
        "For row i: no_worse = (costs <= costs[i]).all(axis=1) & (accuracies >= accuracies[i]) says who costs no "
        "more and is as accurate. Among those, look for one that is cheaper in some column or more accurate.",
        _some_networks,
        beaten_rows,
    ),
    # ---- 08_deploy
    "08-code": Exercise(
        "Divide by the scale, add the zero point, round, and keep the result between -128 and 127 with np.clip.",
        lambda rng: {
            "values": rng.uniform(-4, 8, whole(rng, 3, 6)).round(3),
            "scale": whole(rng, 5, 40) / 1000,
            "zero_point": whole(rng, -128, 127),
        },
        lambda values, scale, zero_point: np.clip(np.round(values / scale + zero_point), -128, 127),
    ),
    "08-range": Exercise(
        "256 codes have 255 steps between them. The code -128 stands for the lowest value: which code stands for 0, "
        "then? Round it.",
        lambda rng: {"lowest": -whole(rng, 0, 300) / 100, "highest": whole(rng, 10, 600) / 100},
        scale_and_zero_point,
    ),
    "08-integers": Exercise(
        "Make int32 of codes and weights before anything else: int8 has no 200, and says nothing when it runs over. "
        "Then (codes - zero_point) @ weights, times the factors, rounded, plus the other zero point, and np.clip.",
        _some_codes,
        pointwise_in_int8,
    ),
}
