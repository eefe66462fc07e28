"""What a comparison comes to: one row of figures a case, as it is written to engine.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.cases import Case
from benchmarks.contest import Result
from benchmarks.figures import backward_over_forward, better, ratio, step_seconds
from benchmarks.programs import COMPILE, EAGER, NATIVE, OURS


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all cases of a run share: the machine, who computes on it, and the day.

    shards, by model, is {"batch": …, "ms": {"1": …, "2": …}}: a step by virtual shards.
    """

    gemm_peak_gflops: float
    shards: Mapping[str, Mapping[str, Any]]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    profile: str
    clock: str
    date: str


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of a case: times are medians in milliseconds, None is what was not measured.

    ratio is the better PyTorch median over ours, low and high the quartiles of paired rounds.
    Memory is what a process took at its peak beyond its imports, in units of 10⁶ bytes.
    """

    case: str
    batch: int
    ours_ms: float
    ours_native_ms: float | None
    torch_eager_ms: float | None
    torch_compile_ms: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    ratio_native: float | None
    gflop_per_step: float
    gflops: float
    gemm_peak_gflops: float
    share_of_peak: float
    backward_over_forward: float
    torch_backward_over_forward: float | None
    peak_memory_mb: float
    torch_eager_peak_memory_mb: float | None
    torch_compile_peak_memory_mb: float | None
    parameters: int
    rounds: int
    virtual_shards: Mapping[str, Any] | None
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    profile: str
    clock: str
    date: str


def row(case: Case, result: Result, around: Surroundings) -> Row:
    """The figures of a case."""
    ours, facts = result.bursts[OURS], result.facts[OURS]
    torch = {name: result.bursts[name] for name in (EAGER, COMPILE) if name in result.bursts}
    against = better(torch)
    found = ratio(ours, torch[against]) if against else None
    gflops = facts["flop"] / step_seconds(ours) / 1e9
    return Row(
        case=case.model,
        batch=case.batch,
        ours_ms=step_seconds(ours) * 1e3,
        ours_native_ms=_milliseconds(result, NATIVE),
        torch_eager_ms=_milliseconds(result, EAGER),
        torch_compile_ms=_milliseconds(result, COMPILE),
        ratio=found.value if found else None,
        ratio_low=found.low if found else None,
        ratio_high=found.high if found else None,
        ratio_native=_native_ratio(result, against),
        gflop_per_step=facts["flop"] / 1e9,
        gflops=gflops,
        gemm_peak_gflops=around.gemm_peak_gflops,
        share_of_peak=gflops / around.gemm_peak_gflops,
        backward_over_forward=backward_over_forward(ours),
        torch_backward_over_forward=backward_over_forward(torch[EAGER]) if EAGER in torch else None,
        peak_memory_mb=result.memory[OURS] / 1e6,
        torch_eager_peak_memory_mb=_megabytes(result, EAGER),
        torch_compile_peak_memory_mb=_megabytes(result, COMPILE),
        parameters=facts["parameters"],
        rounds=len(ours),
        virtual_shards=around.shards.get(case.model),
        machine=around.machine,
        versions=around.versions,
        profile=around.profile,
        clock=around.clock,
        date=around.date,
    )


def _milliseconds(result: Result, name: str) -> float | None:
    return step_seconds(result.bursts[name]) * 1e3 if name in result.bursts else None


def _megabytes(result: Result, name: str) -> float | None:
    return result.memory[name] / 1e6 if name in result.memory else None


def _native_ratio(result: Result, against: str | None) -> float | None:
    if against is None or NATIVE not in result.bursts:
        return None
    return ratio(result.bursts[NATIVE], result.bursts[against]).value
