"""A model as nodes with inferred shapes, every fault named with its field path."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from gradloom.worker.engine.arrays import UNKNOWN, Shape, fits, size, text
from gradloom.worker.engine.blocks import Part, branches, projections
from gradloom.worker.engine.check import WORDS, check_model, has_no_order, path_of
from gradloom.worker.engine.losses import RULES, describe_target, fits_target
from gradloom.worker.engine.metrics import statistics_of
from gradloom.worker.engine.operation import Flops, RunningMean, ShapeMismatch, Weights
from gradloom.worker.engine.operations import OPERATIONS
from gradloom.worker.engine.presets import OUTPUTS, expanded
from gradloom.worker.engine.spec import (
    Attention,
    Concat,
    Embedding,
    Fault,
    Flatten,
    Initializer,
    Joint,
    Layer,
    Loss,
    Model,
    Residual,
    SoftmaxCrossEntropy,
    Target,
    TransformerBlock,
)
from gradloom.worker.engine.wiring import order

# The shape of a row, or for a model of nodes the shapes of its inputs by their names.
InputShapes = Shape | Mapping[str, Shape]


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
    shift: float = 0.0

    @property
    def size(self) -> int:
        """The number of its elements."""
        return size(self.shape)

    @property
    def place(self) -> slice:
        """Where it stands in the flat vector."""
        return slice(self.offset, self.offset + self.size)


@dataclass(frozen=True, slots=True)
class Buffer:
    """A running mean: PyTorch's name and layout, and where it begins in the flat vector."""

    name: str
    shape: Shape
    initializer: Initializer
    momentum: float
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
class Fused:
    """The layers of a chain of operations that one operation computes."""

    layers: tuple["Layer | Fused | None", ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One operation; inputs are indices of nodes before it, the shape leaves out the row axis.

    The number is the node's index in the graph that was built, whatever was fused since.
    """

    operation: str
    layer: Layer | Fused | None
    inputs: tuple[int, ...]
    shape: Shape
    path: str
    number: int
    parameters: tuple[Parameter, ...] = ()
    buffers: tuple[Buffer, ...] = ()

    @property
    def parts(self) -> tuple[Parameter | Buffer, ...]:
        """All of it that stands in the flat vector."""
        return (*self.parameters, *self.buffers)


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
    """Nodes in topological order, the model's inputs first and its output last, and the loss.

    A flat vector holds all parameters in order, then all buffers.
    """

    nodes: tuple[Node, ...]
    loss: Loss
    target: Target

    @property
    def input_shape(self) -> Shape:
        """The shape of a row that goes in, of the first input where there are several."""
        return self.nodes[0].shape

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The nodes that stand for the data: the graph's first, in the data's order."""
        return tuple(node for node in self.nodes if not node.inputs)

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
        """How many numbers are trained: those of the parameters."""
        return sum(parameter.size for parameter in self.parameters)

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """All buffers in the order of the flat vector."""
        return tuple(buffer for node in self.nodes for buffer in node.buffers)

    @property
    def parts(self) -> tuple[Parameter | Buffer, ...]:
        """All that stands in the flat vector, in its order."""
        return (*self.parameters, *self.buffers)

    @property
    def vector_size(self) -> int:
        """The length of the flat vector."""
        return self.parameter_count + sum(buffer.size for buffer in self.buffers)

    @property
    def statistics(self) -> tuple[str, ...]:
        """What the numbers of a Statistics tuple are."""
        return statistics_of(self.loss, self.target)

    @property
    def layers(self) -> tuple[LayerRow, ...]:
        """A line for each operation, for people."""
        trained = self.trained()
        return tuple(
            self._row(node, not trained.isdisjoint(node.inputs))
            for node in self.nodes
            if node.inputs
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

    def choices(self, place: int) -> int:
        """How many whole numbers from 0 an input may be to its readers; 0 for any number."""
        return min((found for found in self._choices(place) if found), default=0)

    def _choices(self, place: int) -> Iterator[int]:
        index = [i for i, node in enumerate(self.nodes) if not node.inputs][place]
        for node in self.nodes:
            choices = _choices_of(node) if node.inputs else ()
            yield from (
                count
                for source, count in zip(node.inputs, choices, strict=False)
                if source == index
            )

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


def build_graph(model: Model, loss: Loss, inputs: InputShapes, target: Target) -> Graph:
    """The model as a graph for rows of this shape; raises ModelError with every fault found."""
    named = inputs if isinstance(inputs, Mapping) else {}
    faults = check_model(model, loss, tuple(named))
    if has_no_order(faults):
        raise ModelError(faults)
    builder = _Builder()
    if model.nodes:
        builder.add_nodes(model, named)
    else:
        builder.add_chain(model, _only(inputs))
    if isinstance(loss, Joint):
        builder.add_joint(loss)
    graph = Graph(builder.finished(), loss, target)
    ends = tuple(_ends(graph, builder.ends))
    faults = (
        *faults,
        *builder.faults,
        *_check_tokens(graph),
        *(_told_of(model, fault) for end in ends for fault in _check_output(graph, end)),
        *(fault for end in ends for fault in _check_class_weights(end)),
    )
    if faults:
        raise ModelError(faults)
    return graph


def _told_of(model: Model, fault: Fault) -> Fault:
    """A fault of a preset's last layer as one of the field that decides it."""
    if model.kind is None or not fault.field.endswith(".dense.units"):
        return fault
    field = OUTPUTS.get(type(model.kind), "outputs")
    sentence = fault.description.replace("set units:", f"set {field}:")
    return Fault(f"{path_of(model)}.{field}", sentence)


def _only(inputs: InputShapes) -> Shape:
    if not isinstance(inputs, Mapping):
        return inputs
    (shape,) = inputs.values()
    return shape


class _Builder:
    """Nodes and faults as they are found, layer by layer."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.ends: dict[str, int] = {}
        self.faults: list[Fault] = []
        self._offset = 0
        self._mask: int | None = None
        self._buffer_offset = 0

    def finished(self) -> tuple[Node, ...]:
        """The nodes, their buffers placed behind all parameters."""
        return tuple(replace(node, buffers=self._placed(node.buffers)) for node in self.nodes)

    def _placed(self, buffers: tuple[Buffer, ...]) -> tuple[Buffer, ...]:
        return tuple(replace(buffer, offset=self._offset + buffer.offset) for buffer in buffers)

    def add_chain(self, model: Model, input_shape: Shape) -> None:
        """The data, and the layers one after the other."""
        self.nodes.append(Node("input", None, (), input_shape, "data", 0))
        self._add_layers(expanded(model).layers, (0,), f"{path_of(model)}.layers", "layers.")

    def add_nodes(self, model: Model, inputs: Mapping[str, Shape]) -> None:
        """The data's arrays, and the model's nodes in an order in which they can be computed."""
        for name, shape in inputs.items():
            self.ends[name] = len(self.nodes)
            self.nodes.append(Node("input", None, (), shape, f"data.{name}", self.ends[name]))
        for place in order(model):
            node = model.nodes[place]
            sources = tuple(self.ends[name] for name in node.inputs)
            path = f"model.nodes[{place}].layers"
            self.ends[node.name] = self._add_layers(node.layers, sources, path, f"{node.name}.")

    def add_joint(self, joint: Joint) -> None:
        """Brings the outputs that several losses read into one, side by side."""
        path = "loss.joint"
        flat = tuple(self._flat(self.ends[part.output], path) for part in joint.parts)
        self._add_node("concat", Concat(), flat, f"{path}.concat", "")

    def _flat(self, source: int, path: str) -> int:
        if len(self.nodes[source].shape) == 1:
            return source
        return self._add_node("flatten", Flatten(), (source,), f"{path}.flatten", "")

    def _add_layers(
        self, layers: tuple[Layer, ...], sources: tuple[int, ...], path: str, name: str
    ) -> int:
        """Chain the layers to the nodes sources; returns the node they end in."""
        for index, layer in enumerate(layers):
            inner_path = f"{path}[{index}].{WORDS[type(layer)]}"
            sources = (self._add_layer(layer, sources, inner_path, f"{name}{index}."),)
        return sources[0]

    def _add_layer(self, layer: Layer, sources: tuple[int, ...], path: str, name: str) -> int:
        word = WORDS[type(layer)]
        sources = self._as_many(sources, word, path)
        match layer:
            case Residual():
                return self._add_residual(layer, sources, path, name)
            case TransformerBlock():
                return self._add_block(layer, sources, path, name)
            case Attention():
                return self._add_attention(layer, sources, path, name, path)
            case Embedding(padding_index=int()):
                self._mask = self._add_node("padding_mask", layer, sources, path, name)
        return self._add_node(word, layer, sources, path, name)

    def _add_residual(self, layer: Residual, sources: tuple[int, ...], path: str, name: str) -> int:
        end = self._add_layers(layer.layers, sources, f"{path}.layers", f"{name}layers.")
        short = self._add_layers(layer.shortcut, sources, f"{path}.shortcut", f"{name}shortcut.")
        return self._add_node("add", layer, (short, end), path, name)

    def _as_many(self, sources: tuple[int, ...], word: str, path: str) -> tuple[int, ...]:
        """The sources, or as many of them as the layer takes and one more fault."""
        least, most = _arity(word)
        if len(sources) < least:
            self.faults.append(Fault(path, _TOO_FEW.format(word, least)))
        if len(sources) > most:
            takes = "1 input" if most == 1 else f"at most {most} inputs"
            self.faults.append(Fault(path, _TOO_MANY.format(word, takes, len(sources))))
        return sources[:most]

    def _add_block(
        self, layer: TransformerBlock, sources: tuple[int, ...], path: str, name: str
    ) -> int:
        source, *masks = sources
        shape = self.nodes[source].shape
        for branch in branches(layer, shape[-1] if shape else UNKNOWN):
            end = source
            for part in branch:
                inputs = (end, *masks) if isinstance(part.layer, Attention) else (end,)
                end = self._add_part(part, inputs, path, name, path)
            inner = Residual(tuple(part.layer for part in branch))
            source = self._add_node("add", inner, (source, end), f"{path}.residual", name)
        return source

    def _add_part(
        self, part: Part, sources: tuple[int, ...], path: str, name: str, blamed: str
    ) -> int:
        inside, prefix = f"{path}.{part.word}", name + part.name
        if isinstance(part.layer, Attention):
            return self._add_attention(part.layer, sources, inside, prefix, blamed)
        return self._add_node(WORDS[type(part.layer)], part.layer, sources, inside, prefix, blamed)

    def _add_attention(
        self, layer: Attention, sources: tuple[int, ...], path: str, name: str, blamed: str
    ) -> int:
        source, *masks = sources
        shape = self.nodes[source].shape
        try:
            before, after = projections(layer, shape)
        except ShapeMismatch as mismatch:
            self._blame(mismatch, blamed)
            return source
        inner = self._add_part(before, (source,), path, name, blamed)
        inputs = (inner, *(masks or self._masks(shape)))
        mixed = self._add_node("attention", layer, inputs, path, name, blamed)
        return self._add_part(after, (mixed,), path, name, blamed)

    def _masks(self, shape: Shape) -> tuple[int, ...]:
        """The mask of padding that fits rows of this shape."""
        if self._mask is None or not fits(self.nodes[self._mask].shape, shape[:-1]):
            return ()
        return (self._mask,)

    def _blame(self, mismatch: ShapeMismatch, path: str) -> None:
        field = f"{path}.{mismatch.field}" if mismatch.field else path
        self.faults.append(Fault(field, mismatch.sentence))

    def _add_node(
        self,
        operation: str,
        layer: Layer,
        inputs: tuple[int, ...],
        path: str,
        name: str,
        blamed: str | None = None,
    ) -> int:
        rules = OPERATIONS[operation]
        shapes = tuple(self.nodes[index].shape for index in inputs)
        try:
            shape = rules.shape(layer, shapes)
            weights, means = rules.weights(layer, shapes), rules.buffers(layer, shapes)
        except ShapeMismatch as mismatch:
            self._blame(mismatch, blamed or path)
            shape, weights, means = mismatch.assumed, (), ()
        parameters = tuple(self._parameter(weight, name) for weight in weights)
        buffers = tuple(self._buffer(mean, name) for mean in means)
        number = len(self.nodes)
        self.nodes.append(Node(operation, layer, inputs, shape, path, number, parameters, buffers))
        return number

    def _parameter(self, weight: Weights, name: str) -> Parameter:
        offset, self._offset = self._offset, self._offset + size(weight.shape)
        return Parameter(
            name + weight.name,
            weight.shape,
            weight.initializer,
            weight.fan_in,
            weight.fan_out,
            offset,
            weight.shift,
        )

    def _buffer(self, mean: RunningMean, name: str) -> Buffer:
        offset, self._buffer_offset = self._buffer_offset, self._buffer_offset + size(mean.shape)
        return Buffer(name + mean.name, mean.shape, mean.initializer, mean.momentum, offset)


def _choices_of(node: Node) -> tuple[int, ...]:
    """Those of the operation, or of the first of a chain, which reads what the chain reads."""
    layer = node.layer
    while isinstance(layer, Fused):
        layer = layer.layers[0]
    word = node.operation if layer is node.layer else WORDS.get(type(layer), "")
    return OPERATIONS[word].choices(layer) if word in OPERATIONS else ()


def _arity(word: str) -> tuple[int, int]:
    """The least and the largest number of inputs of a layer."""
    if word == "transformer_block":
        return OPERATIONS["attention"].arity
    return OPERATIONS[word].arity if word in OPERATIONS else (1, 1)


_TOO_FEW = (
    "{0} takes {1} inputs or more, gets 1: put it first in a node of model.nodes that names them, "
    "or remove it."
)
_TOO_MANY = "{0} takes {1}, the node has {2}: begin its layers with concat or add."


def _check_tokens(graph: Graph) -> Iterator[Fault]:
    """Token numbers come from the data: what a layer puts out is no whole number."""
    for node in graph.nodes:
        if isinstance(node.layer, Embedding) and node.operation == "embedding":
            yield from _check_embedding(node.layer, node, graph)


def _check_embedding(layer: Embedding, node: Node, graph: Graph) -> Iterator[Fault]:
    if graph.nodes[node.inputs[0]].inputs:
        yield Fault(node.path, "embedding reads token numbers from the data: put it first.")
    if layer.padding_index is not None and layer.padding_index >= layer.size > 0:
        sentence = (
            f"padding_index is {layer.padding_index}, the embedding has {layer.size} entries (0 to "
            f"{layer.size - 1}): use one of them or set size: {layer.padding_index + 1}."
        )
        yield Fault(f"{node.path}.padding_index", sentence)


@dataclass(frozen=True, slots=True)
class _End:
    """A node whose output goes into a loss, what it is held to, and the field of the loss."""

    node: int
    loss: Loss
    target: Target
    field: str


def _ends(graph: Graph, named: Mapping[str, int]) -> Iterator[_End]:
    if not isinstance(graph.loss, Joint):
        yield _End(len(graph.nodes) - 1, graph.loss, graph.target, "loss")
        return
    pairs = zip(graph.loss.parts, graph.target.parts, strict=True)
    for place, (part, target) in enumerate(pairs):
        yield _End(named[part.output], part.loss, target, f"loss.joint.parts[{place}].loss")


def _check_output(graph: Graph, end: _End) -> tuple[Fault, ...]:
    rule = RULES[type(end.loss)]
    if end.target.kind != rule.target:
        return (Fault(end.field, _WRONG_TARGET[rule.target].format(WORDS[type(end.loss)])),)
    if fits_target(rule, graph.nodes[end.node].shape, end.target):
        return ()
    return (_misfit(graph, end, rule.wanted(end.target)),)


def _check_class_weights(end: _End) -> tuple[Fault, ...]:
    loss, target = end.loss, end.target
    if not isinstance(loss, SoftmaxCrossEntropy) or target.kind != "labels":
        return ()
    weights = len(loss.class_weights)
    if weights in (0, target.classes):
        return ()
    sentence = f"{describe_target(target)}, class_weights {weights}: give one for each class."
    return (Fault(f"{end.field}.softmax_cross_entropy.class_weights", sentence),)


_WRONG_TARGET = {
    "labels": "{} needs class labels, the target holds numbers: use mean_squared_error.",
    "numbers": "{} needs numbers, the target holds class labels: use softmax_cross_entropy.",
}


def _misfit(graph: Graph, end: _End, wanted: Shape) -> Fault:
    """The output does not fit the target: names the dense layer to change, if there is one."""
    last, subject = _shaping(graph, end.node), describe_target(end.target)
    output = graph.nodes[end.node].shape
    fits_but_last = bool(wanted) and output[:-1] == wanted[:-1]
    units = wanted[-1] if fits_but_last else size(wanted)
    if last.path.endswith(".dense") and (fits_but_last or len(output) == 1):
        sentence = f"{subject}, the last layer {output[-1]} outputs: set units: {units}."
        return Fault(f"{last.path}.units", sentence)
    flatten = "flatten, then " if len(output) > 1 and not fits_but_last else ""
    remedy = f"end with {flatten}dense units: {units}"
    sentence = f"{subject}, the model puts out the shape {text(output)}: {remedy}."
    return Fault(last.path, sentence)


def _shaping(graph: Graph, end: int) -> Node:
    """The node that gave an output its shape; the last one where only the input did."""
    node = graph.nodes[end]
    while len(node.inputs) == 1 and graph.input_shapes(node) == (node.shape,):
        if node.operation == "dense":
            return node
        node = graph.nodes[node.inputs[0]]
    return node if node.inputs else graph.nodes[end]
