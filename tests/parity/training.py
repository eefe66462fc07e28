"""Our losses, optimisers and schedules beside PyTorch's, or why there is none."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn, optim
from torch.nn import functional
from torch.optim import lr_scheduler

# Builders know the types that they are given.
Spec = Any
TorchLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Parameters = Iterable[nn.Parameter]


def _cross_entropy(loss: Spec) -> TorchLoss:
    weights = torch.tensor(loss.class_weights) if loss.class_weights else None
    ignored = -100 if loss.ignore_index is None else loss.ignore_index

    def of(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        # PyTorch wants the classes right behind the rows.
        return functional.cross_entropy(
            output.movedim(-1, 1),
            target,
            weight=weights,
            ignore_index=ignored,
            label_smoothing=loss.label_smoothing,
        )

    return of


def _kl_divergence(loss: Spec) -> TorchLoss:
    return lambda output, target: functional.kl_div(
        functional.log_softmax(output, dim=-1), target, reduction="batchmean"
    )


LOSS_PAIRS: Mapping[str, Callable[[Spec], TorchLoss]] = {
    "softmax_cross_entropy": _cross_entropy,
    "mean_squared_error": lambda loss: functional.mse_loss,
    "binary_cross_entropy": lambda loss: functional.binary_cross_entropy_with_logits,
    "mean_absolute_error": lambda loss: functional.l1_loss,
    "huber": lambda loss: nn.HuberLoss(delta=loss.delta),
    "kl_divergence": _kl_divergence,
}


def _sgd(rule: Spec, parameters: Parameters) -> optim.Optimizer:
    return optim.SGD(
        parameters,
        rule.learning_rate,
        momentum=rule.momentum,
        nesterov=rule.nesterov,
        weight_decay=rule.weight_decay,
    )


def _adam(kind: type[optim.Adam]) -> Callable[[Spec, Parameters], optim.Optimizer]:
    return lambda rule, parameters: kind(
        parameters,
        rule.learning_rate,
        betas=(rule.beta1, rule.beta2),
        eps=rule.epsilon,
        weight_decay=rule.weight_decay,
    )


def _adagrad(rule: Spec, parameters: Parameters) -> optim.Optimizer:
    return optim.Adagrad(
        parameters, rule.learning_rate, eps=rule.epsilon, weight_decay=rule.weight_decay
    )


def _rmsprop(rule: Spec, parameters: Parameters) -> optim.Optimizer:
    return optim.RMSprop(
        parameters,
        rule.learning_rate,
        alpha=rule.decay,
        eps=rule.epsilon,
        weight_decay=rule.weight_decay,
        momentum=rule.momentum,
        centered=rule.centered,
    )


OPTIMIZER_PAIRS: Mapping[str, Callable[[Spec, Parameters], optim.Optimizer]] = {
    "sgd": _sgd,
    "adam": _adam(optim.Adam),
    "adamw": _adam(optim.AdamW),
    "adagrad": _adagrad,
    "rmsprop": _rmsprop,
}

NO_OPTIMIZER: Mapping[str, str] = {
    "lion": "not among torch.optim",
    "lamb": "not among torch.optim",
}

# A schedule of so many steps after the warm-up.
ScheduleBuilder = Callable[[Spec, optim.Optimizer, float, int], lr_scheduler.LRScheduler]


def _one_cycle(
    schedule: Spec, optimizer: optim.Optimizer, base: float, steps: int
) -> lr_scheduler.LRScheduler:
    return lr_scheduler.OneCycleLR(
        optimizer,
        base,
        total_steps=steps,
        pct_start=schedule.rise,
        cycle_momentum=False,
        div_factor=1 / schedule.start_ratio,
        final_div_factor=schedule.start_ratio / schedule.final_ratio,
    )


SCHEDULE_PAIRS: Mapping[str, ScheduleBuilder] = {
    "constant": lambda schedule, optimizer, base, steps: lr_scheduler.ConstantLR(
        optimizer, factor=1.0
    ),
    "step": lambda schedule, optimizer, base, steps: lr_scheduler.StepLR(
        optimizer, schedule.every_steps, schedule.factor
    ),
    "cosine": lambda schedule, optimizer, base, steps: lr_scheduler.CosineAnnealingLR(
        optimizer, steps - 1, base * schedule.final_ratio
    ),
    "exponential": lambda schedule, optimizer, base, steps: lr_scheduler.ExponentialLR(
        optimizer, schedule.factor ** (1 / schedule.every_steps)
    ),
    "one_cycle": _one_cycle,
    "cosine_restarts": lambda schedule, optimizer, base, steps: (
        lr_scheduler.CosineAnnealingWarmRestarts(
            optimizer, schedule.period_steps, schedule.multiplier, base * schedule.final_ratio
        )
    ),
}


def _plateau(
    schedule: Spec, optimizer: optim.Optimizer, base: float
) -> lr_scheduler.ReduceLROnPlateau:
    return lr_scheduler.ReduceLROnPlateau(
        optimizer,
        factor=schedule.factor,
        patience=schedule.patience,
        threshold=schedule.threshold,
        min_lr=base * schedule.min_ratio,
        eps=0.0,
    )


# Schedules that look at the validation loss.
PLATEAU_PAIRS = {"reduce_on_plateau": _plateau}
