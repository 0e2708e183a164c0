"""Batch normalization, fused into one operation where TensorFlow has one."""

from mbv2_lib.backend import keras


def has_fused_normalization():
    """Whether the fused operation exists and is faster: on TensorFlow, which else takes the layer apart into six."""
    return keras.config.backend() == "tensorflow"


@keras.saving.register_keras_serializable(package="mbv2_lib")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over the last axis of (n, h, w, c), computed in one pass where that is faster.

    Outputs, gradients, moving statistics and the layout of the weights are those of the Keras layer, so a file that
    was trained with one loads in the other. TensorFlow's fused operation reports the variance of a batch with
    Bessel's correction, m / (m - 1) for m values a channel; Keras keeps the plain variance of the batch. The factor
    is taken out again here. Left in, the moving variance would be larger by 1 / (m - 1): nothing at 112 x 112, but
    2 % for a batch of one at 7 x 7.

    momentum: share of the moving statistics that stays at each step. The default .9 forgets a first guess in some
    fifty steps. `keras.applications` has .999, tuned for runs of millions of steps: after the 200 steps of a short
    run 82 % of its moving mean is still the zero that it began with, and a network that has learnt well on the
    training set answers at chance on every other.
    Source: Ioffe and Szegedy, arXiv 1502.03167, Algorithms 1 and 2.
    """

    def __init__(self, momentum=0.9, epsilon=1e-3, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs, training=None, mask=None):
        if len(inputs.shape) != 4 or mask is not None or not has_fused_normalization():
            return super().call(inputs, training=training, mask=mask)
        return self._fused(inputs, training=bool(training) and self.trainable)

    def _fused(self, inputs, training):
        import tensorflow as tf

        gamma, beta = (keras.ops.cast(value, "float32") for value in (self.gamma, self.beta))
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=keras.ops.cast(inputs, self.compute_dtype),
            scale=gamma,
            offset=beta,
            mean=[] if training else keras.ops.cast(self.moving_mean, "float32"),
            variance=[] if training else keras.ops.cast(self.moving_variance, "float32"),
            epsilon=self.epsilon,
            is_training=training,
        )
        if training:
            values = tf.cast(tf.size(inputs) / tf.shape(inputs)[-1], "float32")
            self._follow(self.moving_mean, mean)
            self._follow(self.moving_variance, variance * tf.maximum(values - 1, 1) / values)
        return outputs

    def _follow(self, moving, batch):
        moving.assign(moving * self.momentum + keras.ops.cast(batch, moving.dtype) * (1 - self.momentum))
