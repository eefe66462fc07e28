"""Everything about a job as text: what `gradloom describe` prints."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from gradloom.service.job_file import write_job_file
from gradloom.service.jobs.job import Job, Metric, Plan, Progress, Queue, Receipt
from gradloom.service.terminal import diagnosis_words, table, words_of
from gradloom.service.wire import spec_to_wire
from gradloom.service.wording import clock, count, measure, percent, plural, size, span

_LAYER_HEADS = ("layer", "output", "parameters", "FLOPs a row")


def description(job: Job, now: datetime) -> str:
    """State, why, progress, plan, receipt, history and spec, as far as the job has them."""
    sections = (
        [job.id],
        _named(_facts(job, now)),
        _titled("Layers", layer_lines(job.plan) if job.plan else ()),
        _titled("Workers", _workers(job)),
        _titled("Diagnoses", map(diagnosis_words, job.diagnoses)),
        _titled("History", _history(job)),
        _titled("Spec", write_job_file(spec_to_wire(job.spec)).splitlines()),
    )
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def plan_sentence(plan: Plan) -> str:
    """What a spec comes to, in one line."""
    return " · ".join(
        (
            plural(plan.parameters, "parameter"),
            plural(plan.shards, "shard"),
            f"{plural(plan.steps, 'step')} in {plural(plan.epochs, 'epoch')}",
            _rows_sentence(plan),
            f"{size(plan.memory_bytes)} a worker",
        )
    )


def layer_lines(plan: Plan) -> list[str]:
    """The layers of a plan as a table."""
    rows = [
        (
            layer.path.removeprefix("model."),
            " × ".join(map(str, layer.output_shape)) or "1",
            count(layer.parameters),
            count(layer.forward_flops + layer.backward_flops),
        )
        for layer in plan.layers
    ]
    return table(_LAYER_HEADS, rows, right=_LAYER_HEADS[2:]).splitlines()


def metric_words(metric: Metric) -> str:
    """A metric with its split: validation accuracy 0.975."""
    return f"{metric.split} {metric.name} {measure(metric.value)}"


def _rows_sentence(plan: Plan) -> str:
    splits = {"training": plan.training_rows, "validation": plan.validation_rows}
    splits["test"] = plan.test_rows
    return ", ".join(f"{count(rows)} {split}" for split, rows in splits.items() if rows) + " rows"


def _facts(job: Job, now: datetime) -> list[tuple[str, str]]:
    facts = [
        ("State", _state(job, now)),
        ("Why", job.message or words_of(job.reason)),
        *_queue_facts(job.queue, now),
        ("Labels", ", ".join(f"{key}={value}" for key, value in job.labels)),
    ]
    if job.progress:
        facts.append(("Progress", _progress(job.progress)))
    facts.append(("Metrics", " · ".join(map(metric_words, job.measured))))
    if job.best:
        facts.append(("Best", f"{metric_words(job.best)} (epoch {job.best.epoch})"))
    if job.plan:
        facts.append(("Plan", plan_sentence(job.plan)))
    return [*facts, *_receipt_facts(job.receipt)]


def _state(job: Job, now: datetime) -> str:
    since = job.transitions[-1].time if job.transitions else job.create_time
    spell = f"{span(now - since)} ago" if job.state.is_final else f"for {span(now - since)}"
    return f"{job.state} {spell}, created {span(now - job.create_time)} ago"


def _queue_facts(queue: Queue | None, now: datetime) -> list[tuple[str, str]]:
    if queue is None:
        return []
    blockers = ", ".join(queue.blocked_by)
    place = f"place {queue.position}, waits for {span(now - queue.wait_start_time)}"
    return [("Queue", f"{place}, behind {blockers}" if blockers else place)]


def _progress(progress: Progress) -> str:
    share = percent(progress.step, progress.steps)
    return " · ".join(
        (
            f"epoch {progress.epoch}/{progress.epochs}",
            f"step {count(progress.step)}/{count(progress.steps)} ({share})",
            f"loss {measure(progress.loss)}",
            f"learning rate {progress.learning_rate:.3g}",
            f"{count(progress.samples_per_second)} samples/s",
            f"{plural(progress.worker_losses, 'worker')} lost",
        )
    )


def _receipt_facts(receipt: Receipt) -> list[tuple[str, str]]:
    return [
        ("Weights", f"sha256 {receipt.weights_sha256}" if receipt.weights_sha256 else ""),
        ("Model", receipt.model_path),
        ("Data", f"sha256 {receipt.data_sha256}" if receipt.data_sha256 else ""),
        ("Computed", _arithmetic(receipt)),
    ]


def _arithmetic(receipt: Receipt) -> str:
    if not receipt.gradloom_version:
        return ""
    return f"gradloom {receipt.gradloom_version}, bits {receipt.bits_version}, {receipt.profile}"


def _workers(job: Job) -> list[str]:
    return [
        f"{each.worker} on {each.node or 'this machine'} (process {each.pid}): shards "
        f"{each.first_shard} to {each.first_shard + each.shards - 1}"
        for each in job.assignments
    ]


def _history(job: Job) -> list[str]:
    return [
        f"{clock(each.time)} {each.state:<10} {each.message or words_of(each.reason)}"
        for each in job.transitions
    ]


def _named(facts: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in facts)
    return [f"{name:<{width}}  {text}" for name, text in facts if text]


def _titled(title: str, lines: Iterable[str]) -> list[str]:
    indented = [f"  {line}" for line in lines]
    return [title, *indented] if indented else []
