"""The same network in PyTorch, written independently, with the weights of a Keras model.

Where the stride is 2, TensorFlow pads a picture of even size at its end; PyTorch pads both ends, and uses the first
alone. Turned by half a circle, the one is the other: so the kernels and the pictures are turned here, and both networks
compute the same, each with the padding that is fastest for it.
"""

import numpy as np
import torch
from torch import nn

from mbv2_lib.architecture import mobilenet_v2_architecture


def conv_bn(channels, filters, kernel, stride=1, groups=1, activation=True):
    convolution = nn.Conv2d(channels, filters, kernel, stride, kernel // 2, groups=groups, bias=False)
    layers = [convolution, nn.BatchNorm2d(filters, eps=1e-3)]
    return nn.Sequential(*layers, nn.ReLU6(inplace=True)) if activation else nn.Sequential(*layers)


class InvertedResidual(nn.Module):
    """Expand, filter, project; (n, c, h, w) in and out."""

    def __init__(self, block):
        super().__init__()
        self.shortcut = block.shortcut
        expand = [conv_bn(block.channels, block.expanded, 1)] if block.expansion != 1 else []
        depthwise = conv_bn(block.expanded, block.expanded, 3, block.strides, groups=block.expanded)
        self.layers = nn.Sequential(*expand, depthwise, conv_bn(block.expanded, block.filters, 1, activation=False))

    def forward(self, x):
        return x + self.layers(x) if self.shortcut else self.layers(x)


def network(classes, alpha=1.0):
    """MobileNetV2 from (n, 3, h, w) in [-1, 1] to logits (n, classes)."""
    stem, blocks, head = mobilenet_v2_architecture(alpha)
    return nn.Sequential(
        conv_bn(3, stem, 3, stride=2),
        *(InvertedResidual(block) for block in blocks),
        conv_bn(blocks[-1].filters, head, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(head, classes),
    )


def copy_weights(source, target):
    """Copy the trained weights of a Keras MobileNetV2 into `network`, in order, its kernels turned by half a circle."""
    with torch.no_grad():
        for given, wanted in zip(source.trainable_weights, target.parameters(), strict=True):
            value = np.asarray(given)
            if value.ndim == 4 and "depthwise" in given.path:
                value = value[::-1, ::-1].transpose(2, 3, 0, 1)  # (k, k, c, 1) -> (c, 1, k, k)
            elif value.ndim == 4:
                value = value[::-1, ::-1].transpose(3, 2, 0, 1)  # (k, k, in, out) -> (out, in, k, k)
            wanted.copy_(torch.from_numpy(np.ascontiguousarray(value.T if value.ndim == 2 else value)))


def turned(pictures):
    """Pictures (n, h, w, 3) turned by half a circle, as a channels-last tensor (n, 3, h, w)."""
    tensor = torch.from_numpy(np.ascontiguousarray(pictures[:, ::-1, ::-1].transpose(0, 3, 1, 2)))
    return tensor.to(memory_format=torch.channels_last)


def step(source, pictures, labels, alpha, rate, momentum):
    """A function that takes one training step from the weights of `source` and returns its loss."""
    model = network(source.output_shape[-1], alpha)
    copy_weights(source, model)
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum)
    cross_entropy, x, targets = nn.CrossEntropyLoss(), turned(pictures), torch.from_numpy(labels)

    def take():
        optimizer.zero_grad()
        loss = cross_entropy(model(x), targets)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return take
