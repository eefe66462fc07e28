"""From a sound job to the table of its model."""

from gradloom.service.jobs.model_table import Memory, ModelTable, TableInput, TableLayer
from gradloom.service.jobs.ranges import shards_of
from gradloom.service.jobs.validation import Checked
from gradloom.worker.engine.graph import Graph, LayerRow, Node
from gradloom.worker.engine.layout import held_bytes
from gradloom.worker.engine.optimizers import slots

_FLOAT_BYTES = 4


def model_table(checked: Checked) -> ModelTable:
    """The table of a job that has no faults."""
    graph, training = checked.graph, checked.spec.training
    nodes = [node for node in graph.nodes if node.inputs]
    layers = tuple(_layer(graph, node, row) for node, row in zip(nodes, graph.layers, strict=True))
    return ModelTable(
        inputs=tuple(
            TableInput(node.path.removeprefix("data."), node.shape) for node in graph.inputs
        ),
        layers=layers,
        parameters=graph.parameter_count,
        forward_flops=sum(layer.forward_flops for layer in layers),
        backward_flops=sum(layer.backward_flops for layer in layers),
        activation_bytes=sum(layer.activation_bytes for layer in layers),
        batch_size=training.update_rows,
        shards=shards_of(training),
        memory=_memory(checked),
    )


def _layer(graph: Graph, node: Node, row: LayerRow) -> TableLayer:
    return TableLayer(
        path=row.path,
        kind=row.kind,
        output_shape=row.output_shape,
        parameters=row.parameters,
        forward_flops=row.forward_flops,
        backward_flops=row.backward_flops,
        activation_bytes=held_bytes(graph, node),
    )


def _memory(checked: Checked) -> Memory:
    copy = checked.graph.parameter_count * _FLOAT_BYTES
    optimizer = checked.spec.optimizer
    return Memory(
        parameters=copy,
        optimizer=copy * (len(slots(optimizer.kind)) + (optimizer.average is not None)),
        activations=checked.footprint.activations,
        worker=checked.footprint.total,
    )
