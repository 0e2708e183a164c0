"""What a network costs: `costs.network_cost` against building the Keras model and counting."""

from pairs import alternate, arguments, compare, report

from mbv2_lib.backend import keras
from mbv2_lib.costs import network_cost


def built_and_counted(alpha, resolution, classes):
    """Parameters and multiply-adds of `keras.applications.MobileNetV2`, counted on the layers of the built model."""
    keras.backend.clear_session()
    model = keras.applications.MobileNetV2(
        input_shape=(resolution, resolution, 3), alpha=alpha, classes=classes, weights=None
    )
    madds = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            madds += layer.kernel.shape[0] * layer.kernel.shape[1]
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            height, width = layer.output.shape[1:3]
            madds += height * width * layer.count_params()  # no bias here
    return model.count_params(), madds


def main(argv=None):
    options = arguments(__doc__, argv)
    alpha, pairs, repeats = (0.35, 1, 10) if options.tiny else (1.0, 9, 200)
    setting = alpha, 224, 1000
    cost = network_cost(alpha, resolution=224, classes=1000)
    counted = built_and_counted(*setting)
    assert (cost.parameters, cost.madds) == counted, "the two count differently"

    def closed_form():
        for _ in range(repeats):
            found = network_cost(alpha, resolution=224, classes=1000)
            _ = found.parameters, found.madds

    seconds = alternate({"ours": closed_form, "built": lambda: built_and_counted(*setting)}, pairs)
    what = "costs, against building the Keras model and counting"
    rows = [compare(what, seconds["ours"], seconds["built"], repeats, 1, unit="networks/s", at_least=1000)]
    text = f"Width {alpha}, 224 px: both find {counted[0]:,} parameters and {counted[1]:,} multiply-adds."
    return report(options, "costs", "Costs in closed form", rows, text)


if __name__ == "__main__":
    main()
