"""A graph and its weights as an ONNX model, checked, in bytes."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, ValueInfoProto, checker, helper

from gradloom.worker.engine.arrays import Shape
from gradloom.worker.engine.graph import Graph, Node
from gradloom.worker.engine.operations import OPERATIONS
from gradloom.worker.interchange.onnx_part import Part, Weight
from gradloom.worker.interchange.onnx_rules import RULES
from gradloom.worker.interchange.onnx_writer import Writer

# What the operators need, and no more, so that runtimes of some years can read it.
OPSET = 20
_IR_VERSION = 9

OUTPUT = "output"


def onnx_model(graph: Graph, vector: npt.NDArray[np.float32], metadata: Mapping[str, str]) -> bytes:
    """The model for inference, any number of rows at a time.

    The vector is the flat one of the graph's parameters and buffers. Inputs are called as the
    graph calls them, the output "output".
    """
    write = Writer()
    values: list[str] = []
    for node in graph.nodes:
        values.append(_written(write, graph, node, values, vector))
    # A model of dropout alone would have no node: the output is a node's in any case.
    write.nodes.append(helper.make_node("Identity", [values[-1]], [OUTPUT]))
    model = helper.make_model(
        helper.make_graph(
            write.nodes,
            "gradloom",
            [
                _rows(values[at], node.shape)
                for at, node in enumerate(graph.nodes)
                if _is_input(node)
            ],
            [_rows(OUTPUT, graph.output_shape)],
            write.constants,
        ),
        producer_name="gradloom",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
    )
    helper.set_model_props(model, dict(metadata))
    checker.check_model(model, full_check=True)
    return model.SerializeToString()


def _is_input(node: Node) -> bool:
    return not node.inputs


def _written(
    write: Writer, graph: Graph, node: Node, values: list[str], vector: npt.NDArray[np.float32]
) -> str:
    """The name of the node's value."""
    if _is_input(node):
        return node.path
    rules, shapes = OPERATIONS[node.operation], graph.input_shapes(node)
    roles = [
        *(each.name for each in rules.weights(node.layer, shapes)),
        *(each.name for each in rules.buffers(node.layer, shapes)),
    ]
    part = Part(
        layer=node.layer,
        inputs=tuple(values[source] for source in node.inputs),
        input_shapes=shapes,
        shape=node.shape,
        weights={
            role: Weight(stands.name, vector[stands.place].reshape(stands.shape))
            for role, stands in zip(roles, node.parts, strict=True)
        },
    )
    return RULES[node.operation](write, part)


def _rows(name: str, shape: Shape) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", *shape])
