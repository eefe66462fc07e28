"""Everything that is wrong with a job at once, or what it comes to. Only data is read, no worker.

Paths of faults start at the spec: model.layers[2].dense.units.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace

from gradloom.service.errors import InvalidSpec, SpecFault
from gradloom.service.job_file import json_form
from gradloom.service.jobs import limits
from gradloom.service.jobs.job import Plan, PlanLayer, Receipt
from gradloom.service.jobs.naming import name_faults
from gradloom.service.jobs.ranges import (
    checkpoints_faults,
    health_faults,
    length_of,
    resources_faults,
    seed_faults,
    shards_of,
    training_faults,
)
from gradloom.service.jobs.spec import Checkpoints, HealthSpec, JobSpec, Resources, Training
from gradloom.service.wire import model_sketch, spec_parts, spec_to_wire
from gradloom.v1 import specs_pb2
from gradloom.worker.assembly import (
    asked_of,
    data_sha256,
    inputs_of,
    joins_inputs,
    target_of,
    token_faults,
)
from gradloom.worker.data.errors import DataError
from gradloom.worker.data.files import Roots
from gradloom.worker.data.preparation import inspect
from gradloom.worker.data.prepared import Asked, Summary
from gradloom.worker.data.spec import DataSpec
from gradloom.worker.data.target import TargetKind
from gradloom.worker.data.wording import size
from gradloom.worker.engine.check import check_model, check_optimizer, check_parts, check_schedule
from gradloom.worker.engine.graph import Graph, ModelError, build_graph
from gradloom.worker.engine.optimizers import slots
from gradloom.worker.engine.profile import BITS_VERSION
from gradloom.worker.engine.spec import (
    Fault,
    InitialWeights,
    Joint,
    Loss,
    MeanSquaredError,
    Model,
    Optimizer,
    ReduceOnPlateauSchedule,
    Schedule,
)
from gradloom.worker.footprint import Footprint, footprint
from gradloom.worker.initial_weights import WeightsError, load_weights
from gradloom.worker.versions import versions

# More steps than any warm-up has, for where the training's length is not known.
_ENDLESS = 2**31
# For checks of layers that do not depend on the loss.
_ANY_LOSS = MeanSquaredError()
_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Checked:
    """A spec without faults, what it comes to, and what is worth knowing about it."""

    spec: JobSpec
    plan: Plan
    graph: Graph
    footprint: Footprint
    data_sha256: str
    spec_sha256: str
    initial_weights_sha256: str = ""
    warnings: tuple[SpecFault, ...] = ()

    @property
    def receipt(self) -> Receipt:
        """What the result will depend on, as far as it is known before training."""
        return Receipt(
            data_sha256=self.data_sha256,
            spec_sha256=self.spec_sha256,
            gradloom_version=versions()["gradloom"],
            bits_version=BITS_VERSION,
            initial_weights_sha256=self.initial_weights_sha256,
        )


@dataclass(frozen=True, slots=True)
class Draft:
    """A spec as far as it could be read: None stands for a part that is missing or faulty."""

    name: str | None = None
    data: DataSpec | None = None
    model: Model | None = None
    loss: Loss | None = None
    optimizer: Optimizer | None = None
    training: Training | None = None
    seed: int | None = None
    schedule: Schedule | None = None
    resources: Resources | None = None
    checkpoints: Checkpoints | None = None
    health: HealthSpec | None = None


@dataclass(slots=True)
class Findings:
    """What is known of a draft so far; summary and graph only where they could be made."""

    faults: list[SpecFault]
    summary: Summary | None = None
    graph: Graph | None = None
    footprint: Footprint | None = None
    initial_weights_sha256: str = ""

    def add(self, faults: Iterable[Fault | SpecFault]) -> None:
        """Notes faults, each once."""
        for fault in faults:
            noted = SpecFault(fault.field, fault.description)
            if noted not in self.faults:
                self.faults.append(noted)


def validate(spec: JobSpec, roots: Roots) -> Checked:
    """What a spec comes to; raises InvalidSpec with every fault."""
    draft = Draft(**{field.name: getattr(spec, field.name) for field in fields(JobSpec)})
    return _checked(spec, _examined(draft, (), roots))


def validate_message(message: specs_pb2.JobSpec, roots: Roots) -> Checked:
    """What the spec of a message comes to; raises InvalidSpec with every fault, form included."""
    parts, missing = spec_parts(message)
    findings = _examined(Draft(**parts), missing, roots)
    if "model" not in parts and message.HasField("model"):
        findings.add(check_model(model_sketch(message.model), parts.get("loss", _ANY_LOSS)))
    if findings.faults:
        raise InvalidSpec(findings.faults)
    return _checked(JobSpec(**parts), findings)


def spec_sha256(spec: JobSpec) -> str:
    """Hash of all in a spec that decides the weights, beside files' bytes and our arithmetic.

    Left out: name, resources, checkpoints, health, spot checks, test rows, where files lie.
    Defaults are filled in.
    """
    deciding = replace(
        spec,
        name="",
        data=replace(spec.data, path="", files=_names(spec.data), test=None),
        model=replace(
            spec.model, initial_weights=spec.model.initial_weights and InitialWeights("")
        ),
        training=_deciding(spec.training),
        resources=Resources(),
        checkpoints=Checkpoints(),
        health=HealthSpec(),
    )
    canonical = json.dumps(json_form(spec_to_wire(deciding)), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _deciding(training: Training) -> Training:
    """The training by what it comes to: accumulated batches are one large one."""
    return replace(
        training,
        batch_size=training.update_rows,
        shards=shards_of(training),
        accumulation_steps=1,
        verify_every=Training(1).verify_every,
    )


def _names(data: DataSpec) -> tuple[tuple[str, str], ...]:
    return tuple((name, "") for name, _ in data.files)


def _checked(spec: JobSpec, findings: Findings) -> Checked:
    summary, graph, memory = findings.summary, findings.graph, findings.footprint
    if findings.faults or summary is None or graph is None or memory is None:
        raise InvalidSpec(findings.faults)
    return Checked(
        spec=spec,
        plan=_plan(spec, summary, graph, memory),
        graph=graph,
        footprint=memory,
        data_sha256=data_sha256(summary),
        spec_sha256=spec_sha256(spec),
        initial_weights_sha256=findings.initial_weights_sha256,
        warnings=tuple(SpecFault(each.field, each.description) for each in summary.warnings),
    )


def _plan(spec: JobSpec, summary: Summary, graph: Graph, memory: Footprint) -> Plan:
    length = length_of(spec.training, summary.training_rows)
    return Plan(
        layers=tuple(
            PlanLayer(
                path=row.path,
                kind=row.kind,
                output_shape=row.output_shape,
                parameters=row.parameters,
                forward_flops=row.forward_flops,
                backward_flops=row.backward_flops,
            )
            for row in graph.layers
        ),
        parameters=graph.parameter_count,
        shards=length.shards,
        steps=length.steps,
        steps_per_epoch=length.steps_per_epoch,
        epochs=length.epochs,
        training_rows=summary.training_rows,
        validation_rows=summary.validation_rows,
        test_rows=summary.test_rows,
        memory_bytes=memory.total,
    )


def _examined(draft: Draft, missing: Iterable[SpecFault], roots: Roots) -> Findings:
    """Looks at every part that can be read, and at each pair of parts that must agree."""
    findings = Findings(list(missing))
    findings.add(_plain_faults(draft))
    _look_at_data(findings, draft, roots)
    _look_at_model(findings, draft)
    _look_at_initial_weights(findings, draft, roots)
    _look_at_training(findings, draft)
    _look_at_size(findings, draft)
    return findings


def _plain_faults(draft: Draft) -> Iterator[Fault | SpecFault]:
    """Faults of parts that stand alone."""
    if draft.name is not None:
        yield from name_faults(draft.name)
    if draft.seed is not None:
        yield from seed_faults(draft.seed)
    if draft.optimizer is not None:
        yield from check_optimizer(draft.optimizer)
    if draft.checkpoints is not None:
        yield from checkpoints_faults(draft.checkpoints)
    if draft.health is not None:
        yield from health_faults(draft.health)
    if draft.resources is not None:
        yield from resources_faults(draft.resources, draft.training)


def _look_at_data(findings: Findings, draft: Draft, roots: Roots) -> None:
    if draft.data is None:
        return
    faults = tuple(_target_faults(draft.data, draft.loss))
    findings.add(faults)
    if faults:
        return
    try:
        findings.summary = inspect(
            draft.data,
            roots,
            seed=draft.seed or 0,
            kind=_asked(draft.loss),
            joined=draft.model is not None and joins_inputs(draft.model),
        )
    except DataError as error:
        findings.add(error.faults)


def _target_faults(data: DataSpec, loss: Loss | None) -> Iterator[SpecFault]:
    """That what is to be predicted is named once: by the data, or by the parts of a joint loss."""
    if not isinstance(loss, Joint):
        if not data.target:
            yield SpecFault("data.target", _NO_TARGET)
        return
    if data.target:
        yield SpecFault("data.target", _TARGET_TWICE)
    yield from (SpecFault(each.field, each.description) for each in check_parts(loss))


def _asked(loss: Loss | None) -> Asked:
    """What the loss asks of the target; whatever it is where the loss is not known."""
    return asked_of(loss) if loss else TargetKind.NUMBERS


def _look_at_model(findings: Findings, draft: Draft) -> None:
    """Builds the graph where data and loss are known; else checks what needs no shapes."""
    if draft.model is None:
        return
    if draft.loss is None or findings.summary is None:
        findings.add(check_model(draft.model, draft.loss or _ANY_LOSS))
        return
    summary = findings.summary
    try:
        findings.graph = build_graph(
            draft.model, draft.loss, inputs_of(draft.model, summary), target_of(summary)
        )
    except ModelError as error:
        findings.add(error.faults)
    else:
        findings.add(token_faults(findings.graph, summary))


def _look_at_initial_weights(findings: Findings, draft: Draft, roots: Roots) -> None:
    """Holds the file to the graph, once there is one."""
    weights = draft.model.initial_weights if draft.model else None
    if weights is None or findings.graph is None:
        return
    if findings.graph.parameter_count > limits.PARAMETERS:
        return
    try:
        loaded = load_weights(findings.graph, weights, roots)
        findings.initial_weights_sha256 = loaded.sha256
    except WeightsError as error:
        findings.add(error.faults)


def _look_at_training(findings: Findings, draft: Draft) -> None:
    training = draft.training
    rows = findings.summary.training_rows if findings.summary else None
    found = list(training_faults(training, rows)) if training else []
    findings.add(found)
    if draft.schedule is not None:
        sound = None if found else training
        findings.add(check_schedule(draft.schedule, _steps(sound, rows)))
        findings.add(_plateau_faults(draft.schedule, findings.summary))


def _plateau_faults(schedule: Schedule, summary: Summary | None) -> Iterator[SpecFault]:
    """A schedule that looks at the validation loss where there is none."""
    needs = isinstance(schedule, ReduceOnPlateauSchedule)
    if needs and summary is not None and not summary.validation_rows:
        sentence = "It looks at the validation loss: set data.validation_fraction, such as 0.1."
        yield SpecFault("schedule.reduce_on_plateau", sentence)


def _steps(training: Training | None, rows: int | None) -> int:
    """Updates in all, as far as they are known."""
    if training is None:
        return _ENDLESS
    if rows is None:
        return training.steps or _ENDLESS
    return length_of(training, rows).steps


def _look_at_size(findings: Findings, draft: Draft) -> None:
    """Works out the memory of a worker, once all that decides it is sound."""
    graph, summary, optimizer = findings.graph, findings.summary, draft.optimizer
    training = draft.training
    if graph is None or summary is None or optimizer is None or training is None:
        return
    if graph.parameter_count > limits.PARAMETERS:
        findings.add([SpecFault("model", _too_many_parameters(graph.parameter_count, optimizer))])
        return
    if any(fault.field.startswith("training") for fault in findings.faults):
        return
    findings.footprint = footprint(
        graph,
        optimizer,
        summary,
        batch_size=training.update_rows,
        shards=shards_of(training),
        is_looked_at=draft.health is None or draft.health.interval > 0,
    )
    if findings.footprint.total > limits.WORKER_BYTES:
        sentence = _too_much_memory(findings.footprint, training.batch_size)
        findings.add([SpecFault("training.batch_size", sentence)])


_NO_TARGET = "target is missing: name the array or column to predict."
_TARGET_TWICE = "The parts of loss.joint name their targets: leave data.target out."


def _too_many_parameters(count: int, optimizer: Optimizer) -> str:
    one = count * _FLOAT_BYTES
    whole = one * (2 + len(slots(optimizer.kind)))
    return (
        f"The model has {count:,} parameters ({size(one)}, {size(whole)} with gradient and "
        f"optimizer); this server allows {limits.PARAMETERS:,}: make its layers narrower."
    )


def _too_much_memory(memory: Footprint, batch_size: int) -> str:
    return (
        f"A worker would need {size(memory.total)} (activations {size(memory.activations)} at "
        f"batch {batch_size}); the limit is {size(limits.WORKER_BYTES)}: lower batch_size or "
        "raise shards."
    )
