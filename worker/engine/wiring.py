"""Which node of a model reads which: the order in which they are computed, and what is wrong."""

import re
from collections.abc import Iterator, Sequence, Set

from gradloom.worker.engine.spec import Fault, Model, ModelNode

# Nodes may be named as Python's attributes in lower case, so that parameters have PyTorch's names.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def order(model: Model) -> tuple[int, ...]:
    """The nodes' places so that each stands after those it reads, the last output at the end.

    Nodes that stand free keep the order of the spec. Raises ValueError where they go in a circle.
    """
    last = [node.name for node in model.nodes].index(model.outputs[-1])
    reads = _reads(model)
    waiting = [place for place in range(len(model.nodes)) if place != last] + [last]
    found: list[int] = []
    done: set[int] = set()
    while waiting:
        ready = next((place for place in waiting if reads[place] <= done), None)
        if ready is None:
            raise ValueError(f"nodes {waiting} read each other in a circle")
        waiting.remove(ready)
        found.append(ready)
        done.add(ready)
    return tuple(found)


def _reads(model: Model) -> tuple[Set[int], ...]:
    """For each node, the places of the nodes it reads."""
    places = {node.name: place for place, node in enumerate(model.nodes)}
    return tuple({places[name] for name in node.inputs if name in places} for node in model.nodes)


def wiring_faults(model: Model, inputs: Sequence[str] | None) -> tuple[Fault, ...]:
    """Names that are missing, doubled or unused, and circles; inputs are the data's, if known."""
    faults = [*_node_faults(model, inputs or ()), *_output_faults(model)]
    if inputs is not None:
        faults += _unknown_inputs(model, inputs)
    circle = _circle(model)
    if circle:
        faults.append(_circle_fault(model, circle))
    elif not faults:
        faults += [*_unused_nodes(model), *_unused_inputs(model, inputs or ())]
    return tuple(faults)


def _node_faults(model: Model, inputs: Sequence[str]) -> Iterator[Fault]:
    seen: set[str] = set()
    for place, node in enumerate(model.nodes):
        path = f"model.nodes[{place}]"
        yield from _name_faults(f"{path}.name", node.name, seen, inputs)
        if not node.inputs:
            sentence = f'Node "{node.name}" reads nothing: name its inputs.'
            yield Fault(f"{path}.inputs", sentence)
        if not node.layers:
            sentence = f'Node "{node.name}" has no layers: add at least one, for example concat.'
            yield Fault(f"{path}.layers", sentence)
        seen.add(node.name)


def _name_faults(path: str, name: str, seen: set[str], inputs: Sequence[str]) -> Iterator[Fault]:
    if not name:
        yield Fault(path, "name is missing: other nodes read this one by its name.")
    elif not _NAME.fullmatch(name):
        yield Fault(
            path,
            f"name {name!a} may hold a-z, 0-9 and _, at most 63, and begins with a letter.",
        )
    elif name in seen:
        yield Fault(path, f'Two nodes are named "{name}": rename one.')
    elif name in inputs:
        yield Fault(path, f'Node "{name}" has the name of an input: rename it.')


def _unknown_inputs(model: Model, inputs: Sequence[str]) -> Iterator[Fault]:
    names = [node.name for node in model.nodes]
    for place, node in enumerate(model.nodes):
        for position, source in enumerate(node.inputs):
            if source not in names and source not in inputs:
                yield Fault(
                    f"model.nodes[{place}].inputs[{position}]",
                    f'Node "{node.name}" reads "{source}", which does not exist. '
                    f"Nodes: {', '.join(names)}. Inputs: {', '.join(inputs)}.",
                )


def _output_faults(model: Model) -> Iterator[Fault]:
    names = [node.name for node in model.nodes]
    if not model.outputs:
        yield Fault("model.outputs", "outputs is missing: name the node that goes into the loss.")
    for position, name in enumerate(model.outputs):
        path = f"model.outputs[{position}]"
        if name not in names:
            yield Fault(path, f'Output "{name}" is no node. Nodes: {", ".join(names)}.')
        elif name in model.outputs[:position]:
            yield Fault(path, f'Output "{name}" is named twice: keep one.')


def _circle(model: Model) -> tuple[int, ...]:
    """Places of nodes of which each reads the next and the last the first; nothing where none."""
    reads = _reads(model)
    left = set(range(len(model.nodes)))
    while ready := {place for place in left if not left & reads[place]}:
        left -= ready
    if not left:
        return ()
    walk = [min(left)]
    while walk[-1] not in walk[:-1]:
        walk.append(min(left & reads[walk[-1]]))
    return tuple(walk[walk.index(walk[-1]) : -1])


def _circle_fault(model: Model, circle: tuple[int, ...]) -> Fault:
    first, following = model.nodes[circle[0]], model.nodes[circle[1 % len(circle)]]
    names = [model.nodes[place].name for place in (*circle, circle[0])]
    return Fault(
        f"model.nodes[{circle[0]}].inputs[{first.inputs.index(following.name)}]",
        f"Nodes read each other in a circle, {' from '.join(names)}: take out one of these inputs.",
    )


def _unused_nodes(model: Model) -> Iterator[Fault]:
    read = {name for node in model.nodes for name in node.inputs} | set(model.outputs)
    for place, node in enumerate(model.nodes):
        if node.name not in read:
            yield Fault(f"model.nodes[{place}]", _unused("Nothing reads node", node))


def _unused(what: str, node: ModelNode) -> str:
    return f'{what} "{node.name}", nor is it an output: use it or remove it.'


def _unused_inputs(model: Model, inputs: Sequence[str]) -> Iterator[Fault]:
    read = {name for node in model.nodes for name in node.inputs}
    for name in inputs:
        if name not in read:
            sentence = f'No node reads "{name}": read it, or list only the others in data.inputs.'
            yield Fault("model.nodes", sentence)
