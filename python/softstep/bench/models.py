"""The shapes of the parameters of real models, for the optimiser's cases."""

from __future__ import annotations

from collections.abc import Iterator

Shape = tuple[int, ...]

# 784-256-10, weights and biases.
MLP_PARAMETERS: tuple[Shape, ...] = ((784, 256), (256,), (256, 10), (10,))


def _resnet50() -> Iterator[Shape]:
    def convolution(outputs: int, inputs: int, width: int) -> Iterator[Shape]:
        yield (outputs, inputs, width, width)
        yield (outputs,)  # batch normalisation: scale
        yield (outputs,)  # and shift

    yield from convolution(64, 3, 7)
    inputs = 64
    for blocks, middle in ((3, 64), (4, 128), (6, 256), (3, 512)):
        for block in range(blocks):
            yield from convolution(middle, inputs, 1)
            yield from convolution(middle, middle, 3)
            yield from convolution(4 * middle, middle, 1)
            if block == 0:
                yield from convolution(4 * middle, inputs, 1)
            inputs = 4 * middle
    yield (1000, 2048)
    yield (1000,)


RESNET50_PARAMETERS = tuple(_resnet50())
