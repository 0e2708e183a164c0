"""Keras, imported without the log lines that TensorFlow prints as it starts (they would stand in every notebook)."""

import os

from mbv2_lib.quiet import quiet


def start():
    """Import Keras; on TensorFlow, also do once what it logs at its first use: look for devices, run a generator."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet():
        import keras

        if keras.config.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices()
            signature = tf.TensorSpec((), "int32")
            list(tf.data.Dataset.from_generator(lambda: iter([0]), output_signature=signature))
    return keras


keras = start()
