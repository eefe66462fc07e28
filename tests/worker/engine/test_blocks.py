from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.spec import (
    Attention,
    BlockActivation,
    BlockNorm,
    Layer,
    MeanSquaredError,
    Model,
    Target,
    TransformerBlock,
)


def graph(*layers: Layer, width: int = 8) -> Graph:
    target = Target("numbers", shape=(3, width))
    return build_graph(Model(layers), MeanSquaredError(), (3, width), target)


def shapes(made: Graph) -> dict[str, tuple[int, ...]]:
    return {parameter.name: parameter.shape for parameter in made.parameters}


def test_attention_has_the_parameters_of_pytorchs() -> None:
    assert shapes(graph(Attention(2))) == {
        "layers.0.in_proj_weight": (24, 8),
        "layers.0.in_proj_bias": (24,),
        "layers.0.out_proj.weight": (8, 8),
        "layers.0.out_proj.bias": (8,),
    }


def test_shared_keys_and_values_make_the_projection_narrower() -> None:
    assert shapes(graph(Attention(4, kv_heads=1, bias=False))) == {
        "layers.0.in_proj_weight": (12, 8),
        "layers.0.out_proj.weight": (8, 8),
    }


def test_a_block_has_the_parameters_of_pytorchs() -> None:
    assert shapes(graph(TransformerBlock(2))) == {
        "layers.0.norm1.weight": (8,),
        "layers.0.norm1.bias": (8,),
        "layers.0.self_attn.in_proj_weight": (24, 8),
        "layers.0.self_attn.in_proj_bias": (24,),
        "layers.0.self_attn.out_proj.weight": (8, 8),
        "layers.0.self_attn.out_proj.bias": (8,),
        "layers.0.norm2.weight": (8,),
        "layers.0.norm2.bias": (8,),
        "layers.0.linear1.weight": (32, 8),
        "layers.0.linear1.bias": (32,),
        "layers.0.linear2.weight": (8, 32),
        "layers.0.linear2.bias": (8,),
    }


def test_a_block_is_two_residuals_of_plain_layers() -> None:
    block = TransformerBlock(
        2, hidden=5, activation=BlockActivation.SILU, norm=BlockNorm.RMS_NORM, dropout=0.1
    )
    made = graph(block)
    assert [node.operation for node in made.nodes] == [
        *("input", "rms_norm", "dense", "attention", "dense", "dropout", "add"),
        *("rms_norm", "dense", "silu", "dense", "dropout", "add"),
    ]
    assert [node.inputs for node in made.nodes if node.operation == "add"] == [(0, 5), (6, 11)]


def test_every_part_of_a_block_has_a_path() -> None:
    path = "model.layers[0].transformer_block"
    assert [row.path.removeprefix(path) for row in graph(TransformerBlock(2)).layers] == [
        ".layer_norm",
        ".attention.in_proj",
        ".attention",
        ".attention.out_proj",
        ".residual",
        ".layer_norm",
        ".dense",
        ".gelu_tanh",
        ".dense",
        ".residual",
    ]
