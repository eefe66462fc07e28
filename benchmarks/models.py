"""The models of the cases as Gradloom describes them; PyTorch's are in pytorch.py."""

from dataclasses import dataclass

from gradloom.worker.engine.arrays import Shape
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.spec import Dense, Model, Relu, SoftmaxCrossEntropy, Target


@dataclass(frozen=True, slots=True)
class Task:
    """A model, the shape of a row, and its labels."""

    model: Model
    input_shape: Shape
    target: Target

    def graph(self) -> Graph:
        """The model under cross-entropy."""
        return build_graph(self.model, SoftmaxCrossEntropy(), self.input_shape, self.target)


MLP = Task(
    Model((Dense(512), Relu(), Dense(256), Relu(), Dense(10))), (784,), Target("labels", classes=10)
)

TASKS: dict[str, Task] = {"mlp": MLP}
