"""Nothing new goes without a specimen."""

from gradloom.worker.engine.spec import LAYERS, LOSSES, OPTIMIZERS
from gradloom.worker.engine.specimens import (
    LOSS_SPECIMENS,
    OF_SEVERAL,
    OPTIMIZER_SPECIMENS,
    SPECIMENS,
)


def test_every_layer_has_a_specimen_of_its_own() -> None:
    kinds = {word: {type(layer) for layer in each.layers} for word, each in SPECIMENS.items()}
    kinds |= {word: {type(layer)} for word, layer in OF_SEVERAL.items()}
    assert kinds == {word: {kind} for word, kind in LAYERS.items()}


def test_every_loss_has_a_specimen_of_its_own() -> None:
    kinds = {word: {type(each.loss) for each in found} for word, found in LOSS_SPECIMENS.items()}
    assert kinds == {word: {kind} for word, kind in LOSSES.items()}


def test_every_optimiser_has_a_specimen_of_its_own() -> None:
    kinds = {word: set(map(type, found)) for word, found in OPTIMIZER_SPECIMENS.items()}
    assert kinds == {word: {kind} for word, kind in OPTIMIZERS.items()}
