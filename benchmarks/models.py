"""The models of the cases as Gradloom describes them; PyTorch's are in pytorch.py."""

from dataclasses import dataclass

from gradloom.worker.engine.arrays import Shape
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.spec import (
    BatchNorm,
    Conv2d,
    Dense,
    Embedding,
    Flatten,
    Layer,
    LayerNorm,
    MaxPool2d,
    Model,
    Padding,
    Positions,
    Relu,
    SoftmaxCrossEntropy,
    Target,
    TransformerBlock,
)


@dataclass(frozen=True, slots=True)
class Task:
    """A model, the shape of a row, and its labels."""

    model: Model
    input_shape: Shape
    target: Target

    def graph(self) -> Graph:
        """The model under cross-entropy."""
        return build_graph(self.model, SoftmaxCrossEntropy(), self.input_shape, self.target)


_TOKENS, _CONTEXT, _WIDTH = 96, 64, 128
_TEN_CLASSES = Target("labels", classes=10)


def _convolved(filters: int) -> tuple[Layer, ...]:
    """A block of the CNN, which halves both sides."""
    return (Conv2d(filters, (3,), padding=Padding.SAME), BatchNorm(), Relu(), MaxPool2d((2,)))


MLP = Model((Dense(512), Relu(), Dense(256), Relu(), Dense(10)))
CNN = Model((*_convolved(32), *_convolved(64), Flatten(), Dense(128), Relu(), Dense(10)))
GPT = Model(
    (
        Embedding(_TOKENS, _WIDTH),
        Positions(_CONTEXT),
        *(TransformerBlock(heads=4, causal=True),) * 4,
        LayerNorm(),
        Dense(_TOKENS),
    )
)

TASKS: dict[str, Task] = {
    "mlp": Task(MLP, (784,), _TEN_CLASSES),
    "cnn": Task(CNN, (28, 28, 1), _TEN_CLASSES),
    "gpt": Task(GPT, (_CONTEXT,), Target("labels", classes=_TOKENS, shape=(_CONTEXT,))),
}
