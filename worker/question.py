"""What a check of gradients is asked: data alone, so that who asks loads nothing that computes."""

from dataclasses import dataclass

from gradloom.worker.engine.graph import Graph


@dataclass(frozen=True, slots=True)
class Question:
    """A graph to check on so many random rows, at most so many elements of every array."""

    graph: Graph
    rows: int = 3
    most_elements: int = 16
    seed: int = 0
