"""A model and the words for layers as text, as wide as the terminal is."""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gradloom.service.jobs.model_table import ModelTable, TableLayer
from gradloom.service.jobs.vocabulary import Vocabulary, Word, WordField
from gradloom.service.terminal import table
from gradloom.service.wording import amount, count, plural, size

_LEAST_WIDTH = 40


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: a layer's cell, the sum's cell, and whether it is flush right."""

    head: str
    cell: Callable[[TableLayer], str]
    total: Callable[[ModelTable], str]
    is_right: bool = True


_LAYER = Column("layer", lambda row: _place(row), lambda _: "in all", is_right=False)
_KIND = Column("kind", lambda row: row.kind, lambda _: "", is_right=False)
_OUTPUT = Column("output", lambda row: _shape(row.output_shape), lambda _: "", is_right=False)
_PARAMETERS = Column(
    "parameters", lambda row: count(row.parameters), lambda all_: count(all_.parameters)
)
_FORWARD = Column(
    "forward", lambda row: amount(row.forward_flops), lambda all_: amount(all_.forward_flops)
)
_BACKWARD = Column(
    "backward", lambda row: amount(row.backward_flops), lambda all_: amount(all_.backward_flops)
)
_HELD = Column(
    "memory", lambda row: size(row.activation_bytes), lambda all_: size(all_.activation_bytes)
)

# From the most to the fewest columns: a narrow terminal gets those that fit it first.
_CHOICES = (
    (_LAYER, _KIND, _OUTPUT, _PARAMETERS, _FORWARD, _BACKWARD, _HELD),
    (_KIND, _OUTPUT, _PARAMETERS, _FORWARD, _BACKWARD, _HELD),
    (_KIND, _OUTPUT, _PARAMETERS, _FORWARD),
    (_KIND, _OUTPUT, _PARAMETERS),
)


def table_lines(model: ModelTable, width: int) -> list[str]:
    """The table, its sums, and what a worker needs."""
    drawn = [_drawn(model, columns) for columns in _CHOICES]
    fitting = [lines for lines in drawn if max(map(len, lines)) <= width]
    lines = fitting[0] if fitting else drawn[-1]
    return [*_wrapped(_inputs(model), width), "", *lines, "", *_wrapped(_needs(model), width)]


def word_lines(words: Vocabulary, width: int) -> list[str]:
    """Every layer and every preset with its fields and what it does."""
    return [
        "Layers",
        *(line for word in words.layers for line in _word(word, width)),
        "",
        "Presets, which stand for layers",
        *(line for word in words.presets for line in _word(word, width)),
    ]


def _drawn(model: ModelTable, columns: Sequence[Column]) -> list[str]:
    rows = [[column.cell(row) for column in columns] for row in model.layers]
    total = [column.total(model) for column in columns]
    total[0] = "in all"
    right = [column.head for column in columns if column.is_right]
    return table([column.head for column in columns], [*rows, total], right=right).splitlines()


def _inputs(model: ModelTable) -> str:
    shapes = ", ".join(f"{each.name} {_shape(each.shape)}" for each in model.inputs)
    return f"For one row of {shapes}: operations forward and backward, memory of what is kept."


def _needs(model: ModelTable) -> str:
    memory = model.memory
    return (
        f"Parameters {size(memory.parameters)}, optimizer {size(memory.optimizer)}. At batch "
        f"{count(model.batch_size)} in {plural(model.shards, 'shard')}, activations take "
        f"{size(memory.activations)} at once, and a worker {size(memory.worker)} in all."
    )


def _place(row: TableLayer) -> str:
    """Where a layer stands, without the words that are always there."""
    return row.path.removeprefix("model.").rpartition(".")[0]


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "1"


def _word(word: Word, width: int) -> Iterator[str]:
    fields = ", ".join(map(_field, word.fields))
    yield from _wrapped(f"  {word.name}: {{{fields}}}", width, "      ")
    yield from _wrapped(f"      {word.meaning}", width, "      ")


def _field(field: WordField) -> str:
    return f"{field.name} (required)" if field.required else f"{field.name}: {field.default}"


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, max(width, _LEAST_WIDTH), subsequent_indent=indent, drop_whitespace=True
    )
