"""What to compute: a model, a loss, an optimiser and a schedule as frozen data.

Field names, defaults and words are those of protos/gradloom/v1/specs.proto.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: the field's path below the job spec, and what to do about it."""

    field: str
    description: str


class Initializer(StrEnum):
    """How a weight matrix begins; a bias begins at 0, or where its layer says."""

    HE_NORMAL = "he_normal"
    HE_UNIFORM = "he_uniform"
    GLOROT_NORMAL = "glorot_normal"
    GLOROT_UNIFORM = "glorot_uniform"
    ZEROS = "zeros"
    ONES = "ones"
    NORMAL = "normal"


class GeluApproximation(StrEnum):
    """The form of Φ in Gelu."""

    NONE = "none"
    TANH = "tanh"


class Padding(StrEnum):
    """How many zeros stand around an input, where they are not counted out.

    SAME gives ceil(input / stride) outputs, the odd zero at the end, as ONNX's SAME_UPPER.
    """

    VALID = "valid"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Dense:
    """Fully connected over the last axis: y = x Wᵀ + b, W of shape (units, inputs)."""

    units: int
    bias: bool = True
    initializer: Initializer = Initializer.HE_NORMAL
    bias_initial: float = 0.0


@dataclass(frozen=True, slots=True)
class Relu:
    """max(x, 0)."""


@dataclass(frozen=True, slots=True)
class LeakyRelu:
    """x where positive, slope × x elsewhere."""

    slope: float = 0.01


@dataclass(frozen=True, slots=True)
class Tanh:
    """Hyperbolic tangent."""


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """1 / (1 + exp(-x))."""


@dataclass(frozen=True, slots=True)
class Gelu:
    """x Φ(x)."""

    approximation: GeluApproximation = GeluApproximation.NONE


@dataclass(frozen=True, slots=True)
class Dropout:
    """Zeroes a share of its inputs while training, scales the rest by 1 / (1 - rate)."""

    rate: float


@dataclass(frozen=True, slots=True)
class Flatten:
    """One axis of all but the row axis."""


@dataclass(frozen=True, slots=True)
class Residual:
    """shortcut(x) + layers(x); x itself where there is no shortcut."""

    layers: tuple["Layer", ...]
    shortcut: tuple["Layer", ...] = ()


@dataclass(frozen=True, slots=True)
class Elu:
    """x where positive, alpha (exp(x) - 1) elsewhere (Clevert et al., 2016)."""

    alpha: float = 1.0


@dataclass(frozen=True, slots=True)
class Selu:
    """1.0507 × an Elu of alpha 1.6733 (Klambauer et al., 2017)."""


@dataclass(frozen=True, slots=True)
class Silu:
    """x σ(x), also called swish."""


@dataclass(frozen=True, slots=True)
class Softplus:
    """log(1 + exp(x))."""


@dataclass(frozen=True, slots=True)
class Hardswish:
    """x min(max(x + 3, 0), 6) / 6 (Howard et al., 2019)."""


@dataclass(frozen=True, slots=True)
class Softmax:
    """exp(x) over its sum along the last axis."""


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """weight (x - mean) / √(variance + epsilon) + bias along the last axis (Ba et al., 2016)."""

    epsilon: float = 1e-5


@dataclass(frozen=True, slots=True)
class RmsNorm:
    """weight x / √(mean of x² + epsilon) along the last axis (Zhang and Sennrich, 2019)."""

    epsilon: float = 1e-6


@dataclass(frozen=True, slots=True)
class GroupNorm:
    """As LayerNorm, over all positions and a group of the channels (Wu and He, 2018).

    Channels are the last axis.
    """

    groups: int
    epsilon: float = 1e-5


@dataclass(frozen=True, slots=True)
class Embedding:
    """A trained vector for each token; (T,) token numbers from 0 become (T, width).

    Positions that hold padding_index are padding: attention that follows does not look at them.
    """

    size: int
    width: int
    padding_index: int | None = None


@dataclass(frozen=True, slots=True)
class Positions:
    """x + a trained vector for each of at most so many positions."""

    length: int


@dataclass(frozen=True, slots=True)
class Attention:
    """Multi-head self-attention over (T, width) (Vaswani et al., 2017).

    Heads share keys and values in groups where there are fewer kv_heads (Ainslie et al., 2023).
    Rotary turns queries and keys by their position (Su et al., 2021). An optional second input of
    shape (T,) is 0 where a position is padding, which is not looked at.
    """

    heads: int
    kv_heads: int | None = None
    causal: bool = False
    rotary: bool = False
    bias: bool = True


class BlockActivation(StrEnum):
    """What a transformer block bends its hidden layer with."""

    GELU_TANH = "gelu_tanh"
    GELU = "gelu"
    RELU = "relu"
    SILU = "silu"


class BlockNorm(StrEnum):
    """What a transformer block begins its branches with."""

    LAYER_NORM = "layer_norm"
    RMS_NORM = "rms_norm"


@dataclass(frozen=True, slots=True)
class TransformerBlock:
    """x + attention(norm(x)), then x + dense(activation(dense(norm(x)))); pre-norm.

    hidden is the width of the first dense layer, four times that of x where left out. Dropout
    ends both branches.
    """

    heads: int
    kv_heads: int | None = None
    causal: bool = False
    rotary: bool = False
    hidden: int | None = None
    activation: BlockActivation = BlockActivation.GELU_TANH
    norm: BlockNorm = BlockNorm.LAYER_NORM
    dropout: float = 0.0
    bias: bool = True


@dataclass(frozen=True, slots=True)
class Convolution:
    """Sums of windows times weights (filters, channels / groups, *kernel); channels come last.

    One number of kernel, stride, pads or dilation stands for all axes. pads are zeros on both
    sides of an axis, in place of padding.
    """

    filters: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: Padding = Padding.VALID
    pads: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    bias: bool = True
    initializer: Initializer = Initializer.HE_NORMAL


@dataclass(frozen=True, slots=True)
class Conv1d(Convolution):
    """A convolution of (length, channels)."""


@dataclass(frozen=True, slots=True)
class Conv2d(Convolution):
    """A convolution of (height, width, channels)."""


@dataclass(frozen=True, slots=True)
class Pool:
    """One number for each window and channel; windows do not overlap where stride is left out.

    One number of size, stride or pads stands for all axes. Padding is never part of a window.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: Padding = Padding.VALID
    pads: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class MaxPool1d(Pool):
    """The largest number of each window of (length, channels)."""


@dataclass(frozen=True, slots=True)
class MaxPool2d(Pool):
    """The largest number of each window of (height, width, channels)."""


@dataclass(frozen=True, slots=True)
class AveragePool1d(Pool):
    """The mean of each window of (length, channels)."""


@dataclass(frozen=True, slots=True)
class AveragePool2d(Pool):
    """The mean of each window of (height, width, channels)."""


@dataclass(frozen=True, slots=True)
class GlobalAveragePool:
    """The mean over all axes but the last."""


@dataclass(frozen=True, slots=True)
class GlobalMaxPool:
    """The largest number over all axes but the last."""


@dataclass(frozen=True, slots=True)
class Reshape:
    """The same numbers in another shape; one axis may be -1, whatever is left."""

    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Concat:
    """Several inputs side by side along the last axis."""


@dataclass(frozen=True, slots=True)
class Add:
    """The sum of several inputs of one shape."""


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """weight (x - mean) / √(variance + epsilon) + bias, each channel over the rows of a shard.

    In evaluation the running mean and variance stand for the shard's; after a step each is
    (1 - momentum) × itself + momentum × that of the batch (Ioffe and Szegedy, 2015).
    """

    momentum: float = 0.1
    epsilon: float = 1e-5


@dataclass(frozen=True, slots=True)
class Lstm:
    """Long short-term memory (Hochreiter and Schmidhuber, 1997) over the steps of (T, C).

    Gates, order and names of the weights are PyTorch's. Puts out the state after the last step,
    (units,), or with return_sequences that after every step, (T, units). Bidirectional, a second
    set of weights reads from the last step to the first, and its states follow on the last axis.
    """

    units: int
    return_sequences: bool = False
    bidirectional: bool = False
    bias: bool = True
    initializer: Initializer = Initializer.GLOROT_UNIFORM


@dataclass(frozen=True, slots=True)
class Gru:
    """Gated recurrent unit (Cho et al., 2014) in PyTorch's form; the rest is as in Lstm."""

    units: int
    return_sequences: bool = False
    bidirectional: bool = False
    bias: bool = True
    initializer: Initializer = Initializer.GLOROT_UNIFORM


Layer = (
    Dense
    | Relu
    | LeakyRelu
    | Tanh
    | Sigmoid
    | Gelu
    | Dropout
    | Flatten
    | Residual
    | Elu
    | Selu
    | Silu
    | Softplus
    | Hardswish
    | Softmax
    | LayerNorm
    | RmsNorm
    | GroupNorm
    | Embedding
    | Positions
    | Attention
    | TransformerBlock
    | Conv1d
    | Conv2d
    | MaxPool1d
    | MaxPool2d
    | AveragePool1d
    | AveragePool2d
    | GlobalAveragePool
    | GlobalMaxPool
    | BatchNorm
    | Reshape
    | Concat
    | Add
    | Lstm
    | Gru
)

# The word a job file uses for each layer.
LAYERS: dict[str, type[Layer]] = {
    "dense": Dense,
    "relu": Relu,
    "leaky_relu": LeakyRelu,
    "tanh": Tanh,
    "sigmoid": Sigmoid,
    "gelu": Gelu,
    "dropout": Dropout,
    "flatten": Flatten,
    "residual": Residual,
    "elu": Elu,
    "selu": Selu,
    "silu": Silu,
    "softplus": Softplus,
    "hardswish": Hardswish,
    "softmax": Softmax,
    "layer_norm": LayerNorm,
    "rms_norm": RmsNorm,
    "group_norm": GroupNorm,
    "embedding": Embedding,
    "positions": Positions,
    "attention": Attention,
    "transformer_block": TransformerBlock,
    "conv1d": Conv1d,
    "conv2d": Conv2d,
    "max_pool1d": MaxPool1d,
    "max_pool2d": MaxPool2d,
    "average_pool1d": AveragePool1d,
    "average_pool2d": AveragePool2d,
    "global_average_pool": GlobalAveragePool,
    "global_max_pool": GlobalMaxPool,
    "batch_norm": BatchNorm,
    "reshape": Reshape,
    "concat": Concat,
    "add": Add,
    "lstm": Lstm,
    "gru": Gru,
}


@dataclass(frozen=True, slots=True)
class InitialWeights:
    """A safetensors file of weights to begin from, in place of those that the seed gives."""

    path: str


@dataclass(frozen=True, slots=True)
class ModelNode:
    """Layers with a name: the first reads all inputs, each other the layer before it.

    Inputs are names of the data's arrays or of other nodes.
    """

    name: str
    inputs: tuple[str, ...]
    layers: tuple[Layer, ...]


class Activation(StrEnum):
    """What stands between the layers of a preset."""

    RELU = "relu"
    GELU = "gelu"
    SILU = "silu"
    TANH = "tanh"
    SIGMOID = "sigmoid"
    LEAKY_RELU = "leaky_relu"
    ELU = "elu"
    SELU = "selu"


@dataclass(frozen=True, slots=True)
class Mlp:
    """A multi-layer perceptron: flatten, hidden dense layers, and a dense layer of outputs."""

    outputs: int
    hidden: tuple[int, ...] = ()
    activation: Activation = Activation.RELU
    dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class LeNet:
    """Two convolutions with pooling and three dense layers (LeCun et al., 1998), with relu.

    shape, where given, is what rows are reshaped to first: (height, width, channels).
    """

    outputs: int
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ResNet:
    """A residual network for small images (He et al., 2016): three stages of so many blocks.

    Each stage halves the image and doubles the channels, of which the first has width. shape,
    where given, is what rows are reshaped to first: (height, width, channels).
    """

    outputs: int
    blocks: int = 2
    width: int = 16
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Gpt:
    """A causal transformer over tokens that predicts the next one at every position.

    Embedding, trained positions (none with rotary), blocks, layer norm, a dense layer without
    bias (Radford et al., 2019).
    """

    vocabulary: int
    context: int
    layers: int
    width: int
    heads: int
    kv_heads: int | None = None
    rotary: bool = False
    dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class LstmNetwork:
    """LSTM layers over the steps of (T, C), and a dense layer on the last step's state.

    With return_sequences on every step's. Dropout follows each LSTM layer.
    """

    outputs: int
    units: int
    layers: int = 1
    bidirectional: bool = False
    return_sequences: bool = False
    dropout: float = 0.0


Preset = Mlp | LeNet | ResNet | Gpt | LstmNetwork

# The word a job file uses for each preset.
PRESETS: dict[str, type[Preset]] = {
    "mlp": Mlp,
    "lenet": LeNet,
    "resnet": ResNet,
    "gpt": Gpt,
    "lstm": LstmNetwork,
}


@dataclass(frozen=True, slots=True)
class Model:
    """Layers, each fed by the one before; or nodes, and the names of those that go into a loss.

    Or a preset, the kind, that stands for layers.
    """

    layers: tuple[Layer, ...] = ()
    nodes: tuple[ModelNode, ...] = ()
    outputs: tuple[str, ...] = ()
    initial_weights: InitialWeights | None = None
    kind: Preset | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What a row's answer is: labels of so many classes, or numbers; shape leaves out the rows.

    Labels of shape (T,) are one for each of T positions, () is one a row.
    """

    kind: Literal["labels", "numbers", "joint"]
    classes: int = 0
    shape: tuple[int, ...] = ()
    parts: tuple["Target", ...] = ()


@dataclass(frozen=True, slots=True)
class SoftmaxCrossEntropy:
    """-log softmax(logits)[label]; labels are whole numbers from 0.

    Of the truth, the share label_smoothing is spread over all classes. Rows labelled ignore_index
    do not count; others weigh what class_weights says of their label, the loss being the weighted
    mean. As in PyTorch, the weight of a class multiplies its share of the smoothed truth.
    """

    label_smoothing: float = 0.0
    ignore_index: int | None = None
    class_weights: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class MeanSquaredError:
    """Mean over outputs of (prediction - target)²."""


@dataclass(frozen=True, slots=True)
class BinaryCrossEntropy:
    """Mean over outputs of -t log σ(z) - (1 - t) log(1 - σ(z)), z the logit, t from 0 to 1."""


@dataclass(frozen=True, slots=True)
class MeanAbsoluteError:
    """Mean over outputs of |prediction - target|."""


@dataclass(frozen=True, slots=True)
class Huber:
    """Mean over outputs of e² / 2 where |e| ≤ delta, delta (|e| - delta / 2) elsewhere."""

    delta: float = 1.0


@dataclass(frozen=True, slots=True)
class KlDivergence:
    """Σ t log(t / softmax(logits)) along the last axis, t being the target's probabilities."""


@dataclass(frozen=True, slots=True)
class JointPart:
    """One of several losses: the output it reads, the array it is held to, and its weight."""

    output: str
    target: str
    loss: "Loss"
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Joint:
    """The weighted sum of losses, one for each output of a model; a mean over rows."""

    parts: tuple[JointPart, ...]


Loss = (
    SoftmaxCrossEntropy
    | MeanSquaredError
    | BinaryCrossEntropy
    | MeanAbsoluteError
    | Huber
    | KlDivergence
    | Joint
)

# The word a job file uses for each loss of one output.
LOSSES: dict[str, type[Loss]] = {
    "softmax_cross_entropy": SoftmaxCrossEntropy,
    "mean_squared_error": MeanSquaredError,
    "binary_cross_entropy": BinaryCrossEntropy,
    "mean_absolute_error": MeanAbsoluteError,
    "huber": Huber,
    "kl_divergence": KlDivergence,
}

# The word a job file uses for each loss.
OBJECTIVES: dict[str, type[Loss]] = {**LOSSES, "joint": Joint}


@dataclass(frozen=True, slots=True)
class Sgd:
    """Stochastic gradient descent, with momentum and Nesterov's form of it."""

    learning_rate: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam (Kingma and Ba, 2015); weight_decay × weights is added to the gradient."""

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0


@dataclass(frozen=True, slots=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01


@dataclass(frozen=True, slots=True)
class Adagrad:
    """Adagrad (Duchi et al., 2011); weight_decay × weights is added to the gradient."""

    learning_rate: float
    epsilon: float = 1e-10
    weight_decay: float = 0.0


@dataclass(frozen=True, slots=True)
class RmsProp:
    """RMSProp (Tieleman and Hinton, 2012); centred, it divides by the root of a variance."""

    learning_rate: float
    decay: float = 0.99
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False


@dataclass(frozen=True, slots=True)
class Lion:
    """Signs of an evolved momentum (Chen et al., 2023), decoupled weight decay."""

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0


@dataclass(frozen=True, slots=True)
class Lamb:
    """Adam's step scaled to the norm of each parameter array (You et al., 2020)."""

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-6
    weight_decay: float = 0.01


UpdateRule = Sgd | Adam | AdamW | Adagrad | RmsProp | Lion | Lamb

OPTIMIZERS: dict[str, type[UpdateRule]] = {
    "sgd": Sgd,
    "adam": Adam,
    "adamw": AdamW,
    "adagrad": Adagrad,
    "rmsprop": RmsProp,
    "lion": Lion,
    "lamb": Lamb,
}


@dataclass(frozen=True, slots=True)
class WeightAverage:
    """Exponential moving average of the weights: what is measured, and what the model file holds.

    After update t a ← a + (1 - d) (weights - a), where d = min(decay, (1 + t) / (10 + t)).
    """

    decay: float = 0.999


@dataclass(frozen=True, slots=True)
class Optimizer:
    """An update rule, and what the batch's gradient is clipped to before it.

    Clipped are first its elements to ±clip_value, then its Euclidean norm to clip_norm. With
    no_decay_on_bias_and_norm, parameters of one axis have no weight decay.
    """

    kind: UpdateRule
    clip_norm: float | None = None
    clip_value: float | None = None
    no_decay_on_bias_and_norm: bool = False
    average: WeightAverage | None = None


@dataclass(frozen=True, slots=True)
class ConstantSchedule:
    """The same rate, after a linear warm-up."""

    warmup_steps: int = 0


@dataclass(frozen=True, slots=True)
class StepSchedule:
    """The rate × factor every every_steps steps after the warm-up."""

    every_steps: int
    factor: float = 0.1
    warmup_steps: int = 0


@dataclass(frozen=True, slots=True)
class CosineSchedule:
    """Half a cosine from the full rate after the warm-up to final_ratio of it at the last step."""

    final_ratio: float = 0.0
    warmup_steps: int = 0


@dataclass(frozen=True, slots=True)
class ExponentialSchedule:
    """The rate × factor over every_steps steps after the warm-up, a little at each of them."""

    factor: float
    every_steps: int = 1
    warmup_steps: int = 0


@dataclass(frozen=True, slots=True)
class OneCycleSchedule:
    """Half a cosine from start_ratio of the rate up to it, one down to final_ratio of it.

    The share rise of the steps goes up (Smith and Topin, 2019).
    """

    start_ratio: float = 0.04
    final_ratio: float = 4e-6
    rise: float = 0.3
    warmup_steps: int = 0


@dataclass(frozen=True, slots=True)
class CosineRestartsSchedule:
    """Half a cosine from the full rate towards final_ratio of it, again and again.

    The first lasts period_steps, each other multiplier times as long as the one before it
    (Loshchilov and Hutter, 2017).
    """

    period_steps: int
    multiplier: int = 1
    final_ratio: float = 0.0
    warmup_steps: int = 0


@dataclass(frozen=True, slots=True)
class ReduceOnPlateauSchedule:
    """The rate × factor whenever the validation loss has not improved for patience epochs.

    Better is a loss by the share threshold below the best. The rate never falls below min_ratio
    of itself. As PyTorch's, which compares relatively too.
    """

    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    min_ratio: float = 0.0
    warmup_steps: int = 0


Schedule = (
    ConstantSchedule
    | StepSchedule
    | CosineSchedule
    | ExponentialSchedule
    | OneCycleSchedule
    | CosineRestartsSchedule
    | ReduceOnPlateauSchedule
)

SCHEDULES: dict[str, type[Schedule]] = {
    "constant": ConstantSchedule,
    "step": StepSchedule,
    "cosine": CosineSchedule,
    "exponential": ExponentialSchedule,
    "one_cycle": OneCycleSchedule,
    "cosine_restarts": CosineRestartsSchedule,
    "reduce_on_plateau": ReduceOnPlateauSchedule,
}


@dataclass(frozen=True, slots=True)
class Learning:
    """All that decides an update: model, loss, optimiser, schedule, seed, total steps."""

    model: Model
    loss: Loss
    optimizer: Optimizer
    steps: int
    seed: int = 0
    schedule: Schedule = field(default_factory=ConstantSchedule)
