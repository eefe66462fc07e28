"""PyTorch as a contestant: the same models, eager or compiled, one thread, fused Adam.

Runs in an environment of its own that has torch and nothing of Gradloom.
"""

import platform
import sys
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.child import CLOCKS, Answer, peak_bytes, resident_bytes, serve

_RATE = 1e-3
_WIDTH, _HEADS, _BLOCKS, _CONTEXT, _VOCABULARY = 128, 4, 4, 64, 96

# Any: torch has types only where it is installed.
Tensor = Any


def mlp() -> Any:
    """784-512-256-10 with ReLU."""
    return nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)
    )


def cnn() -> Any:
    """Two blocks of convolution, batch norm, ReLU and pooling, and two dense layers."""
    layers = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    return layers.to(memory_format=torch.channels_last)


class Block(nn.Module):  # type: ignore[misc]  # torch is not where types are checked
    """A transformer block, normalised before attention and before the dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(_WIDTH)
        self.projections = nn.Linear(_WIDTH, 3 * _WIDTH)
        self.output = nn.Linear(_WIDTH, _WIDTH)
        self.dense_norm = nn.LayerNorm(_WIDTH)
        self.expand = nn.Linear(_WIDTH, 4 * _WIDTH)
        self.contract = nn.Linear(4 * _WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Attention, then dense layers, each added to its input."""
        x = x + self.output(self._attention(self.attention_norm(x)))
        hidden = functional.gelu(self.expand(self.dense_norm(x)), approximate="tanh")
        return x + self.contract(hidden)

    def _attention(self, x: Tensor) -> Tensor:
        rows, length, width = x.shape
        parts = self.projections(x).view(rows, length, 3, _HEADS, width // _HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return mixed.transpose(1, 2).reshape(rows, length, width)


class Gpt(nn.Module):  # type: ignore[misc]  # torch is not where types are checked
    """Token and position embeddings, blocks, a norm and a dense layer without shared weights."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(_VOCABULARY, _WIDTH)
        self.positions = nn.Parameter(torch.zeros(_CONTEXT, _WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(_BLOCKS)))
        self.norm = nn.LayerNorm(_WIDTH)
        self.head = nn.Linear(_WIDTH, _VOCABULARY)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the next token at every position."""
        return self.head(self.norm(self.blocks(self.tokens(x) + self.positions)))


def numbers(*shape: int) -> Tensor:
    """Inputs of a dense network."""
    return torch.randn(*shape)


def images(*shape: int) -> Tensor:
    """Inputs of a convolution, channels last in memory."""
    return torch.randn(*shape).to(memory_format=torch.channels_last)


def tokens(*shape: int) -> Tensor:
    """Inputs of an embedding."""
    return torch.randint(0, _VOCABULARY, shape)


# Model, what makes its inputs, the shape of a row, classes, positions that have a label.
MODELS: dict[str, tuple[Any, Any, tuple[int, ...], int, tuple[int, ...]]] = {
    "mlp": (mlp, numbers, (784,), 10, ()),
    "cnn": (cnn, images, (1, 28, 28), 10, ()),
    "gpt": (Gpt, tokens, (_CONTEXT,), _VOCABULARY, (_CONTEXT,)),
}


class PyTorch:
    """A model with its optimiser and a batch."""

    def __init__(self, compiled: bool) -> None:
        self._compiled = compiled
        self._baseline = resident_bytes()

    def prepare(self, model: str, batch: int, clock: str) -> Answer:
        """Makes the case ready to run."""
        torch.manual_seed(0)
        self._clock = CLOCKS[clock]
        make, fill, shape, classes, positions = MODELS[model]
        network = make()
        self._inputs = fill(batch, *shape)
        self._labels = torch.randint(0, classes, (batch, *positions)).reshape(-1)
        self._optimizer = torch.optim.Adam(network.parameters(), lr=_RATE, fused=True)
        self._network = torch.compile(network) if self._compiled else network
        return {"parameters": sum(array.numel() for array in network.parameters())}

    def run(self, steps: int) -> Answer:
        """Seconds of so many steps, and of the forward pass with the loss and the backward pass."""
        seconds, forward, backward = [], [], []
        for _ in range(steps):
            began = self._clock()
            turned, returned = self._step()
            seconds.append(self._clock() - began)
            forward.append(turned - began)
            backward.append(returned - turned)
        return {"seconds": seconds, "forward": forward, "backward": backward}

    def _step(self) -> tuple[float, float]:
        self._optimizer.zero_grad(set_to_none=True)
        logits = self._network(self._inputs)
        loss = functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), self._labels)
        turned = self._clock()
        loss.backward()
        returned = self._clock()
        self._optimizer.step()
        return turned, returned

    def memory(self) -> Answer:
        """The most memory so far beyond what the imports took."""
        return {"bytes": peak_bytes() - self._baseline}


def about() -> Answer:
    """Versions of what computes."""
    return {"torch": torch.__version__, "torch_python": platform.python_version()}


def main() -> None:
    """Serves the standard streams; the argument is "eager" or "compile"."""
    torch.set_num_threads(1)
    contestant = PyTorch(sys.argv[1] == "compile")
    serve(
        {
            "about": about,
            "prepare": contestant.prepare,
            "run": contestant.run,
            "memory": contestant.memory,
        }
    )


if __name__ == "__main__":
    main()
