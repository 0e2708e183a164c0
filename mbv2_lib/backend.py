"""Keras, imported without the log lines that TensorFlow prints as it starts (they would stand in every notebook)."""

import contextlib
import os
import sys


@contextlib.contextmanager
def quiet():
    """Inside, what compiled code writes to standard error is dropped; a Python exception is still raised and shown."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


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
