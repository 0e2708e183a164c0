"""Keras, imported without the log lines that TensorFlow prints as it starts (they would stand in every notebook)."""

import contextlib
import os

from mbv2_lib.files import UserError
from mbv2_lib.quiet import quiet

BACKENDS = "tensorflow", "jax"
MEND = "unset KERAS_BACKEND, or pip install -e '.[jax]' for KERAS_BACKEND=jax"


def start():
    """Import Keras; on TensorFlow, also do once what it logs at its first use: look for devices, run a generator.

    Raises UserError where Keras does not start, or runs on a backend that is none of BACKENDS.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet():
        try:
            import keras
        except Exception as error:  # ValueError: Keras knows no backend of that name; others for a damaged keras.json
            raise UserError(f"Keras cannot start ({error}); {MEND}") from error
        keras.config.set_image_data_format("channels_last")  # a keras.json in the home may say otherwise
        if keras.config.backend() not in BACKENDS:
            raise UserError(f"expected Keras on {' or '.join(BACKENDS)}, found {keras.config.backend()}; {MEND}")
        with contextlib.suppress(ImportError):  # on JAX Keras reads batches with it, where it is there
            import tensorflow as tf

            tf.get_logger().setLevel("ERROR")  # it warns of networks that are traced anew, as every new one is
        if keras.config.backend() == "tensorflow":
            tf.config.list_physical_devices()
            signature = tf.TensorSpec((), "int32")
            list(tf.data.Dataset.from_generator(lambda: iter([0]), output_signature=signature))
    return keras


keras = start()
