import pytest

from gradloom.worker.engine.spec import Add, Concat, Dense, Layer, Model, ModelNode
from gradloom.worker.engine.wiring import order, wiring_faults


def node(name: str, *inputs: str, layers: tuple[Layer, ...] = (Dense(4),)) -> ModelNode:
    return ModelNode(name, inputs, layers)


ENCODE, MERGE = node("encode", "images"), node("merge", "encode", "features", layers=(Add(),))
INPUTS = ("images", "features")


def faults(
    *nodes: ModelNode, outputs: tuple[str, ...] = ("merge",), inputs: tuple[str, ...] = INPUTS
) -> dict[str, str]:
    found = wiring_faults(Model(nodes=nodes, outputs=outputs), inputs)
    return {fault.field: fault.description for fault in found}


def test_nodes_that_fit_have_no_faults() -> None:
    assert faults(ENCODE, MERGE) == {}


def test_a_node_stands_after_those_it_reads_and_the_output_last() -> None:
    free = node("free", "images")
    out = node("out", "merge", "free", layers=(Concat(),))
    assert order(Model(nodes=(out, MERGE, ENCODE, free), outputs=("out",))) == (2, 1, 3, 0)


def test_nodes_in_a_circle_have_no_order() -> None:
    with pytest.raises(ValueError, match="circle"):
        order(Model(nodes=(node("a", "b"), node("b", "a")), outputs=("a",)))


def test_b031_a_node_reads_what_does_not_exist() -> None:
    merge = node("merge", "encode2", "features", layers=(Add(),))
    assert faults(ENCODE, merge)["model.nodes[1].inputs[0]"] == (
        'Node "merge" reads "encode2", which does not exist. Nodes: encode, merge. '
        "Inputs: images, features."
    )


def test_b031_nodes_that_read_each_other_in_a_circle() -> None:
    loop = node("encode", "images", "merge", layers=(Add(),))
    assert faults(loop, MERGE) == {
        "model.nodes[0].inputs[1]": "Nodes read each other in a circle, encode from merge from "
        "encode: take out one of these inputs."
    }


def test_b031_a_node_that_reads_itself() -> None:
    assert faults(node("merge", "merge", *INPUTS, layers=(Add(),))) == {
        "model.nodes[0].inputs[0]": "Nodes read each other in a circle, merge from merge: take out "
        "one of these inputs."
    }


def test_b031_two_nodes_of_one_name() -> None:
    assert faults(ENCODE, MERGE, ENCODE) == {
        "model.nodes[2].name": 'Two nodes are named "encode": rename one.'
    }


def test_b031_a_node_with_the_name_of_an_input() -> None:
    assert faults(node("images", "images"), MERGE, outputs=("merge",))["model.nodes[0].name"] == (
        'Node "images" has the name of an input: rename it.'
    )


def test_b031_a_node_that_nobody_reads() -> None:
    assert faults(ENCODE, MERGE, node("spare", "images")) == {
        "model.nodes[2]": 'Nothing reads node "spare", nor is it an output: use it or remove it.'
    }


def test_b031_an_input_that_nobody_reads() -> None:
    assert faults(ENCODE, MERGE, inputs=(*INPUTS, "notes")) == {
        "model.nodes": 'No node reads "notes": read it, or list only the others in data.inputs.'
    }


def test_b031_outputs_must_be_nodes() -> None:
    assert faults(ENCODE, MERGE, outputs=("merge", "heads", "merge")) == {
        "model.outputs[1]": 'Output "heads" is no node. Nodes: encode, merge.',
        "model.outputs[2]": 'Output "merge" is named twice: keep one.',
    }
    assert faults(ENCODE, MERGE, outputs=()) == {
        "model.outputs": "outputs is missing: name the node that goes into the loss."
    }


@pytest.mark.parametrize("name", ["", "Merge", "1st", "a.b", "a" * 64, "\u202ea"])
def test_a_name_is_one_that_parameters_can_begin_with(name: str) -> None:
    assert faults(ENCODE, node(name, "encode", "features"), outputs=(name,)).keys() == {
        "model.nodes[1].name"
    }


def test_a_node_reads_something_and_does_something() -> None:
    assert faults(ENCODE, MERGE, ModelNode("idle", (), ())) == {
        "model.nodes[2].inputs": 'Node "idle" reads nothing: name its inputs.',
        "model.nodes[2].layers": 'Node "idle" has no layers: add at least one, for example concat.',
    }
