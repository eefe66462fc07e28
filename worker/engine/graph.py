"""A model as nodes with inferred shapes, every fault named with its field path."""

from dataclasses import dataclass

from gradloom.worker.engine.arrays import Shape, size, text
from gradloom.worker.engine.check import WORDS, check_model
from gradloom.worker.engine.losses import RULES, describe_target, fits_target
from gradloom.worker.engine.metrics import statistics_of
from gradloom.worker.engine.operation import Flops, ShapeMismatch, Weights
from gradloom.worker.engine.operations import OPERATIONS
from gradloom.worker.engine.spec import (
    Fault,
    Initializer,
    Layer,
    Loss,
    Model,
    Residual,
    SoftmaxCrossEntropy,
    Target,
)


class ModelError(ValueError):
    """A model that cannot be built, with every fault found; survives pickling."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__(faults)
        self.faults = faults

    def __str__(self) -> str:
        return "; ".join(f"{fault.field}: {fault.description}" for fault in self.faults)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A trainable array: PyTorch's name and layout, and where it begins in the flat vector."""

    name: str
    shape: Shape
    initializer: Initializer
    fan_in: int
    fan_out: int
    offset: int

    @property
    def size(self) -> int:
        """The number of its elements."""
        return size(self.shape)

    @property
    def place(self) -> slice:
        """Where it stands in the flat vector."""
        return slice(self.offset, self.offset + self.size)


@dataclass(frozen=True, slots=True)
class Node:
    """One operation; inputs are indices of nodes before it, the shape leaves out the row axis."""

    operation: str
    layer: Layer | None
    inputs: tuple[int, ...]
    shape: Shape
    path: str
    parameters: tuple[Parameter, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One line of a model's description; FLOPs are per row of data."""

    path: str
    kind: str
    output_shape: Shape
    parameters: int
    forward_flops: int
    backward_flops: int


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in topological order, the model's input first and its output last, and the loss."""

    nodes: tuple[Node, ...]
    loss: Loss
    target: Target

    @property
    def input_shape(self) -> Shape:
        """The shape of a row that goes in."""
        return self.nodes[0].shape

    @property
    def output_shape(self) -> Shape:
        """The shape of a row that comes out."""
        return self.nodes[-1].shape

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters in the order of the flat vector."""
        return tuple(parameter for node in self.nodes for parameter in node.parameters)

    @property
    def parameter_count(self) -> int:
        """The length of the flat vector."""
        return sum(parameter.size for parameter in self.parameters)

    @property
    def statistics(self) -> tuple[str, ...]:
        """What the numbers of a Statistics tuple are."""
        return statistics_of(self.loss, self.target)

    @property
    def layers(self) -> tuple[LayerRow, ...]:
        """A line for each operation, for people."""
        trained = self.trained()
        return tuple(
            self._row(node, node.inputs[0] in trained) for node in self.nodes if node.inputs
        )

    def trained(self) -> frozenset[int]:
        """The nodes whose output depends on a parameter, so that their gradient is needed."""
        found: set[int] = set()
        for index, node in enumerate(self.nodes):
            if node.parameters or not found.isdisjoint(node.inputs):
                found.add(index)
        return frozenset(found)

    def input_shapes(self, node: Node) -> tuple[Shape, ...]:
        """The shapes a node reads."""
        return tuple(self.nodes[index].shape for index in node.inputs)

    def _row(self, node: Node, inputs_need_gradient: bool) -> LayerRow:
        flops: Flops = OPERATIONS[node.operation].flops(node.layer, self.input_shapes(node))
        return LayerRow(
            path=node.path,
            kind=node.path.rpartition(".")[2],
            output_shape=node.shape,
            parameters=sum(parameter.size for parameter in node.parameters),
            forward_flops=flops.forward,
            backward_flops=flops.parameters + flops.inputs * inputs_need_gradient,
        )


def build_graph(model: Model, loss: Loss, input_shape: Shape, target: Target) -> Graph:
    """The model as a graph for rows of this shape; raises ModelError with every fault found."""
    faults = check_model(model, loss)
    if any(fault.field == "model.layers" for fault in faults):
        raise ModelError(faults)
    builder = _Builder(input_shape)
    builder.add_layers(model.layers, 0, "model", "")
    graph = Graph(tuple(builder.nodes), loss, target)
    faults = (*faults, *builder.faults, *_check_output(graph), *_check_class_weights(loss, target))
    if faults:
        raise ModelError(faults)
    return graph


class _Builder:
    """Nodes and faults as they are found, layer by layer."""

    def __init__(self, input_shape: Shape) -> None:
        self.nodes = [Node("input", None, (), input_shape, "data")]
        self.faults: list[Fault] = []
        self._offset = 0

    def add_layers(self, layers: tuple[Layer, ...], source: int, path: str, name: str) -> int:
        """Chain the layers to the node source; returns the node they end in."""
        for index, layer in enumerate(layers):
            inner_path = f"{path}.layers[{index}].{WORDS[type(layer)]}"
            inner_name = f"{name}layers.{index}."
            source = self._add_layer(layer, source, inner_path, inner_name)
        return source

    def _add_layer(self, layer: Layer, source: int, path: str, name: str) -> int:
        if isinstance(layer, Residual):
            end = self.add_layers(layer.layers, source, path, name)
            return self._add_node("add", layer, (source, end), path, name)
        return self._add_node(WORDS[type(layer)], layer, (source,), path, name)

    def _add_node(
        self, operation: str, layer: Layer, inputs: tuple[int, ...], path: str, name: str
    ) -> int:
        rules = OPERATIONS[operation]
        shapes = tuple(self.nodes[index].shape for index in inputs)
        try:
            shape = rules.shape(layer, shapes)
            weights = rules.weights(layer, shapes)
        except ShapeMismatch as mismatch:
            field = f"{path}.{mismatch.field}" if mismatch.field else path
            self.faults.append(Fault(field, mismatch.sentence))
            shape, weights = mismatch.assumed, ()
        parameters = tuple(self._parameter(weight, name) for weight in weights)
        self.nodes.append(Node(operation, layer, inputs, shape, path, parameters))
        return len(self.nodes) - 1

    def _parameter(self, weight: Weights, name: str) -> Parameter:
        offset, self._offset = self._offset, self._offset + size(weight.shape)
        return Parameter(
            name + weight.name,
            weight.shape,
            weight.initializer,
            weight.fan_in,
            weight.fan_out,
            offset,
        )


def _check_output(graph: Graph) -> tuple[Fault, ...]:
    rule = RULES[type(graph.loss)]
    if graph.target.kind != rule.target:
        return (Fault("loss", _WRONG_TARGET[rule.target].format(WORDS[type(graph.loss)])),)
    if fits_target(rule, graph.output_shape, graph.target):
        return ()
    return (_misfit(graph, rule.wanted(graph.target)),)


def _check_class_weights(loss: Loss, target: Target) -> tuple[Fault, ...]:
    if not isinstance(loss, SoftmaxCrossEntropy) or target.kind != "labels":
        return ()
    weights = len(loss.class_weights)
    if weights in (0, target.classes):
        return ()
    sentence = f"{describe_target(target)}, class_weights {weights}: give one for each class."
    return (Fault("loss.softmax_cross_entropy.class_weights", sentence),)


_WRONG_TARGET = {
    "labels": "{} needs class labels, the target holds numbers: use mean_squared_error.",
    "numbers": "{} needs numbers, the target holds class labels: use softmax_cross_entropy.",
}


def _misfit(graph: Graph, wanted: Shape) -> Fault:
    """The output does not fit the target: names the dense layer to change, if there is one."""
    last, subject = _shaping(graph), describe_target(graph.target)
    output, units = graph.output_shape, size(wanted)
    if last.operation == "dense" and len(output) == 1:
        sentence = f"{subject}, the last layer {output[0]} outputs: set units: {units}."
        return Fault(f"{last.path}.units", sentence)
    flatten = "flatten, then " if len(output) > 1 else ""
    remedy = f"end with {flatten}dense units: {units}"
    sentence = f"{subject}, the model puts out the shape {text(output)}: {remedy}."
    return Fault(last.path, sentence)


def _shaping(graph: Graph) -> Node:
    """The node that gave the output its shape; the last one where only the input did."""
    node = graph.nodes[-1]
    while len(node.inputs) == 1 and graph.input_shapes(node) == (node.shape,):
        if node.operation == "dense":
            return node
        node = graph.nodes[node.inputs[0]]
    return node if node.inputs else graph.nodes[-1]
