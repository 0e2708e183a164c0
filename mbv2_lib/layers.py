"""The three layers of the network that a backend can compute better than Keras asks it to."""

from mbv2_lib.backend import keras


@keras.saving.register_keras_serializable(package="mbv2_lib")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over the last axis of (n, h, w, c), reading the tensor less often.

    Outputs, gradients, moving statistics and the layout of the weights are those of the Keras layer, so a file that
    was trained with one loads in the other. TensorFlow's fused operation reports the variance of a batch with
    Bessel's correction, m / (m - 1) for m values a channel; Keras keeps the plain variance of the batch. The factor
    is taken out again here. Left in, the moving variance would be larger by 1 / (m - 1): nothing at 112 x 112, but
    2 % for a batch of one at 7 x 7.

    momentum: share of the moving statistics that stays at each step. The default .9 forgets a first guess in some
    fifty steps. `keras.applications.MobileNetV2` has .999, tuned for runs of millions of steps: after the 200 steps
    of a short run 82 % of its moving mean is still the zero that it began with, and a network that has learnt well on
    the training set answers at chance on every other.
    Source: Ioffe and Szegedy, arXiv 1502.03167, Algorithms 1 and 2.
    """

    def __init__(self, momentum=0.9, epsilon=1e-3, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs, training=None, mask=None):
        plain = self.scale and self.center and self.axis in (-1, 3) and not self.renorm
        fits = plain and len(inputs.shape) == 4 and mask is None and self.compute_dtype != "float64"
        training = bool(training) and self.trainable
        if fits and not is_on_jax():
            return self._fused(inputs, training)
        if fits and training:
            return self._in_one_pass(inputs)
        return super().call(inputs, training=training, mask=mask)

    def _in_one_pass(self, inputs):
        from mbv2_lib import one_pass

        gamma, beta = (keras.ops.cast(value, "float32") for value in (self.gamma, self.beta))
        inputs = keras.ops.cast(inputs, self.compute_dtype)
        outputs, mean, variance = one_pass.normalize(inputs, gamma, beta, self.epsilon)
        self._follow(self.moving_mean, mean)
        self._follow(self.moving_variance, variance)
        return outputs

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


def is_on_jax():
    """Whether JAX computes. There XLA compiles a layer from small parts, and its speed on a GPU depends on which."""
    return keras.config.backend() == "jax"


@keras.saving.register_keras_serializable(package="mbv2_lib")
class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D`, on JAX computed as shifted sums. See `one_pass`."""

    def call(self, inputs):
        if not (is_on_jax() and is_as_in_the_network(self)):
            return super().call(inputs)
        from mbv2_lib import one_pass

        return one_pass.depthwise_convolution(inputs, keras.ops.convert_to_tensor(self.kernel), self.strides[0])


@keras.saving.register_keras_serializable(package="mbv2_lib")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, on JAX computed as a product of matrices, which is safer there.

    With the convolutions of cuDNN, in bfloat16 on an H100, the loss became NaN within 20 steps, twice; with products it
    stayed finite for 110 epochs there, and for 200 on an H200 (data/reference_runs/cifar100-128px; the runs differ in
    more than this). All of these kernels but the stem's are 1 x 1: such a convolution is a product as it stands.
    """

    def call(self, inputs):
        if not (is_on_jax() and is_as_in_the_network(self)):
            return super().call(inputs)
        from mbv2_lib import one_pass

        copies = [copy for _, copy in one_pass.shifts(one_pass.once(inputs), self.kernel_size[0], self.strides[0])]
        return keras.ops.matmul(
            keras.ops.concatenate(copies, axis=-1), keras.ops.reshape(self.kernel, (-1, self.filters))
        )


def is_as_in_the_network(layer):
    """Whether a convolution has "same" padding and no bias, is square, and is plain in all else."""
    square = len(set(layer.kernel_size)) == len(set(layer.strides)) == len({1, *layer.dilation_rate}) == 1
    single = getattr(layer, "groups", 1) == getattr(layer, "depth_multiplier", 1) == 1
    plain = not layer.use_bias and layer.activation is keras.activations.linear
    return square and single and plain and (layer.padding, layer.data_format) == ("same", "channels_last")
