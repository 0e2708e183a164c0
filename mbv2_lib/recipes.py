"""The recipes: what the first project did, and what has been learnt since, for runs of dozens to hundreds of epochs."""

from typing import NamedTuple

from mbv2_lib.augmentation import Augmentation
from mbv2_lib.backend import keras


class Recipe(NamedTuple):
    """How to train a network.

    optimizer: a function of (learning_rate, steps, warmup_steps) that makes a Keras optimizer.
    learning_rate: the highest of the run; where `per_batch` is a number, it is for a batch of so many pictures and
        grows in proportion with the batch (arXiv 1706.02677).
    label_smoothing: share of each target that is spread over all classes.
    """

    optimizer: object
    learning_rate: float
    augmentation: Augmentation
    per_batch: int | None = None
    label_smoothing: float = 0.0

    def learning_rate_for(self, batch):
        return self.learning_rate * (batch / self.per_batch if self.per_batch else 1)


def first_optimizer(learning_rate, steps, warmup_steps):
    """Adam at one learning rate from the first step to the last."""
    return keras.optimizers.Adam(learning_rate)


def short_optimizer(learning_rate, steps, warmup_steps, **more):
    """SGD with Nesterov momentum: a warm-up, then a cosine down to zero at the end.

    Weight decay acts on kernels only: in front of a shortcut's sum or of the classifier, no layer undoes what it does
    to a normalization's scale and shift. Keras keeps it out of the momentum; sent through it, as PyTorch's SGD does,
    5e-4 would act ten times as strongly.
    Sources: cosine arXiv 1608.03983, warm-up arXiv 1706.02677, decay on kernels only arXiv 1812.01187.
    """
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        warmup_target=learning_rate,
        warmup_steps=warmup_steps,
        decay_steps=max(steps - warmup_steps, 1),
    )
    optimizer = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True, weight_decay=5e-4, **more)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


def modern_optimizer(learning_rate, steps, warmup_steps):
    """The same, with a moving average of the weights that looks back over a twentieth of the run, 1,000 steps at most.

    The average is what is measured and kept. Source: Polyak and Juditsky, 1992, doi 10.1137/0330046.
    The decay is ten times that of `short`: as strong as 5e-4 in PyTorch's SGD. With the weaker one, the two runs of
    `modern` in data/sweeps/recipes.csv came to 11.5 and 13.6 % in place of 16.9 and 14.1 %. In 200 epochs it let
    18 of the stem's 32 channels fade to nothing, and the same 18 of the first depthwise layer: see 08_deploy.
    """
    looks_back = min(max(steps / 20, 2), 1000)
    optimizer = short_optimizer(learning_rate, steps, warmup_steps, use_ema=True, ema_momentum=1 - 1 / looks_back)
    optimizer.weight_decay = 5e-3
    return optimizer


RECIPES = {
    # The first MobileNetV2-on-CIFAR-100 project. Its shear of 0.2 is in degrees in the Keras that it asks for (2.1.3).
    "first": Recipe(
        first_optimizer,
        learning_rate=1e-3,
        augmentation=Augmentation(flip=True, rotation=90, shear=0.2, zoom=0.2, shift=0.2),
    ),
    # For runs of a few dozen epochs, which end long before the network could learn its pictures by heart.
    "short": Recipe(
        short_optimizer,
        learning_rate=0.1,
        per_batch=128,
        augmentation=Augmentation(flip=True, shift=0.125),
        label_smoothing=0.1,
    ),
    # For a hundred or so, which would learn their pictures by heart: mixing keeps the network from being too sure.
    "modern": Recipe(
        modern_optimizer,
        learning_rate=0.1,
        per_batch=128,
        augmentation=Augmentation(flip=True, shift=0.125, erase=0.25, mixup=0.2, cutmix=1.0),
        label_smoothing=0.1,
    ),
}
# For hundreds of epochs. After 93 of 110, the loss of `modern` on pictures set aside rose, as over-fitting makes it, or
# answers that grow too modest (data/reference_runs/cifar100-128px/earlier); pictures vary more here, by how much is a
# guess. That of `long` rose, too, after 159 of 200.
RECIPES["long"] = RECIPES["modern"]._replace(
    augmentation=RECIPES["modern"].augmentation._replace(rotation=15, shear=10, zoom=0.2, colour=0.4)
)
