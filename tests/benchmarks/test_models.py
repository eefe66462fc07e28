"""The models of the cases are those that others are measured with."""

import pytest

from benchmarks.models import TASKS

# As PyTorch counts its own.
PARAMETERS = {"mlp": 535_818, "cnn": 421_834, "gpt": 826_208}


def test_every_model_of_a_case_is_there():
    assert TASKS.keys() == PARAMETERS.keys()


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_model_has_as_many_parameters_as_its_twin(name: str):
    assert TASKS[name].graph().parameter_count == PARAMETERS[name]
