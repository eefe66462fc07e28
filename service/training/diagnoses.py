"""What is wrong with a training: looks at its layers and losses come in, diagnoses come out.

Each rule is a pure function of what is known. A diagnosis is made once, and again only when it has
become much worse, concerns more layers, or returns after it was gone.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gradloom.service.jobs.job import Diagnosis, DiagnosisCode
from gradloom.service.training.progress import StepReport
from gradloom.worker.engine.health import Health, LayerHealth

# What each rule takes for wrong, and why there.
#
# A layer's gradient, a parameter, as a share of the largest layer's. A sigmoid passes on at most
# 1/4, so five of them leave 1e-3, and sound networks of any depth stay above that; at 1e-5 a layer
# stands still while the others learn.
VANISHED = 1e-5
# Weights, as a multiple of what they began as, within the first steps. A sound step moves them by
# 1e-3 or so, Adam's first ones at a high rate by as much as they are.
GROWN, GROWN_WITHIN = 6.0, 10
# An update, as a share of the weights, at two looks, the second after the first steps: sound ones
# are 1e-3; a layer that moves by a fifth of itself forgets within five steps what it learnt.
RESTLESS, RESTLESS_FROM = 0.2, 5
# The loss, as a multiple of what it began as, a mean over five steps: batches differ by two or so.
RISEN, RISEN_STEPS = 10.0, 5
# Units that are 0 for every row of a batch. Of sound ReLUs a tenth to a third are so for 64 rows,
# half of a layer that had a rough start; few rows leave many at 0 by chance.
DEAD, DEAD_IN_FEW, FEW_SAMPLES = 0.7, 0.95, 16
# Numbers at the flat ends of a sigmoid or tanh; trained tanh layers have up to a third there.
SATURATED = 0.5
# Units that have another one's weights. No two sound ones have; two of a thousand are no harm.
TWINS = 0.1
# The loss, as a share of the best answer that looks at no input, and as a share of what it was the
# window before: labels that mean nothing are learnt by heart at a few per cent a window.
BEATEN, FALLING = 0.98, 0.95
# Steps to learn something in, after the warm-up, and the window losses are averaged over: a sound
# job is below the constant answer within tens of steps. One that begins far above it, as targets
# of another scale do, has them from where its loss is near to it.
PATIENCE, WINDOW, NEAR = 120, 40, 1.5
# Looks, one after the other, that have to agree: one batch may be odd. Twins part late where Adam
# moves weights that began at 0 by their signs alone.
AGREEING, AGREEING_TWINS = 2, 3
# Looks without it after which it counts as gone, and the multiple that counts as much worse.
GONE, WORSE = 2, 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule sees: the layers, the worst first, a sentence, and how bad it is, at least 1."""

    layers: tuple[str, ...]
    evidence: str
    grade: float = 1.0


@dataclass(frozen=True, slots=True)
class Known:
    """What is known at a step: the newest look and the one before it, and losses so far.

    began are the norms of the layers' weights at the first look. losses are the newest finite ones,
    of two windows at most. baseline is the loss of the best constant answer; validation are lowest
    losses of the validation rows, two windows ago and now. None where they are not known.
    """

    step: int
    loss: float
    health: Health
    health_before: Health
    began: Mapping[str, float]
    first_loss: float
    losses: tuple[float, ...]
    patience: int
    baseline: float | None
    validation: tuple[float, float] | None


Rule = Callable[[Known], Finding | None]


def _vanishing(known: Known) -> Finding | None:
    """Gradients that reach some layers are next to nothing; nothing at all is another illness."""
    slopes = {each.path: _slope(each) for each in known.health.layers if each.size}
    strongest = max(slopes, key=lambda path: slopes[path], default="")
    faint = sorted(
        (path for path in slopes if slopes[path] < VANISHED * slopes[strongest]),
        key=lambda path: slopes[path],
    )
    living = [slopes[path] for path in faint if slopes[path] > 0]
    if not living or not _is_finite(slopes[strongest]):
        return None
    weakest, top = min(slopes[path] for path in faint), slopes[strongest]
    evidence = (
        f"The gradient of {faint[0]} is {_number(weakest)} a parameter, that of {strongest} "
        f"{_number(top)}: {_number(weakest / top)} of it."
    )
    return Finding(tuple(faint), evidence, _cube_root(top / min(living)))


def _slope(layer: LayerHealth) -> float:
    """The root mean square of a layer's gradient."""
    slope: float = layer.gradient_norm / layer.size**0.5
    return slope


def _exploding(known: Known) -> Finding | None:
    return _grown(known) or _restless(known) or _risen(known)


def _grown(known: Known) -> Finding | None:
    """Weights that become many times what they were within a few steps."""
    if known.step > GROWN_WITHIN:
        return None
    growth = _growth(known)
    large = [path for path in _worst_first(growth) if growth[path] > GROWN]
    if not large:
        return None
    evidence = (
        f"After {known.step} steps the weights of {large[0]} are {_number(growth[large[0]])} "
        "times as large as they began."
    )
    return Finding(tuple(large), evidence, _cube_root(growth[large[0]]))


def _restless(known: Known) -> Finding | None:
    """Weights that do not settle: two looks find them move by much of themselves."""
    ratios, before = _ratios(known.health), _ratios(known.health_before)
    moving = [
        path
        for path in _worst_first(ratios)
        if known.began.get(path) and min(ratios[path], before.get(path, 0.0)) > RESTLESS
    ]
    if not moving or known.step < RESTLESS_FROM:
        return None
    worst = ratios[moving[0]]
    evidence = f"One step moves the weights of {moving[0]} by {100 * worst:.0f} % of themselves."
    return Finding(tuple(moving), evidence, 1 + worst)


def _ratios(health: Health) -> dict[str, float]:
    """How much of themselves the weights of each layer move by."""
    return {each.path: each.update_ratio for each in health.layers if each.size}


def _growth(known: Known) -> dict[str, float]:
    """How many times as large the weights are, of layers that did not begin at 0."""
    return {
        each.path: each.weight_norm / known.began[each.path]
        for each in known.health.layers
        if known.began.get(each.path)
    }


def _risen(known: Known) -> Finding | None:
    """A loss that has become many times what it was; told of the layers that have grown most."""
    recent = known.losses[-RISEN_STEPS:]
    if len(recent) < RISEN_STEPS:
        return None
    mean, before = sum(recent) / len(recent), max(known.first_loss, known.baseline or 0.0)
    if not mean > RISEN * before or not before:
        return None
    growth = _growth(known)
    most = _worst_first(growth)
    grown = [path for path in most if growth[path] > 2] or most[:1]
    evidence = (
        f"The loss is {_number(mean)}, {_number(mean / before)} times the {_number(before)} it "
        f"began with."
    )
    return Finding(tuple(grown), evidence, _cube_root(mean / before))


def _dead_units(known: Known) -> Finding | None:
    dead = {each.path: each for each in known.health.layers if _is_dead(each)}
    return _shares(
        {path: each.dead or 0.0 for path, each in dead.items()},
        lambda path: (
            f"of the {dead[path].units} units of {path} are 0 for all "
            f"{dead[path].samples} samples of a batch."
        ),
    )


def _is_dead(layer: LayerHealth) -> bool:
    limit = DEAD_IN_FEW if layer.samples < FEW_SAMPLES else DEAD
    return layer.dead is not None and layer.samples > 1 and layer.dead >= limit


def _saturated(known: Known) -> Finding | None:
    """Not the last layer: a sigmoid that puts out what was asked for is at its ends when right."""
    shares = {
        each.path: each.saturated
        for each in known.health.layers[:-1]
        if each.saturated is not None and each.saturated >= SATURATED
    }
    return _shares(shares, lambda path: f"of what {path} puts out is at its flat ends.")


def _symmetry(known: Known) -> Finding | None:
    shares = {
        each.path: each.twins
        for each in known.health.layers
        if each.twins is not None and each.twins >= TWINS
    }
    return _shares(shares, lambda path: f"of the units of {path} have the weights of another one.")


def _shares(shares: Mapping[str, float], of_what: Callable[[str], str]) -> Finding | None:
    """A finding of shares by layer, which grows much worse as they come near to 1."""
    if not shares:
        return None
    layers = _worst_first(shares)
    worst = shares[layers[0]]
    evidence = f"{100 * worst:.0f} % {of_what(layers[0])}"
    return Finding(tuple(layers), evidence, 1 / (1.02 - worst))


def _non_finite(known: Known) -> Finding | None:
    """Where it began: the first layer forward; else, against the current, the last gradient."""
    layers = known.health.layers
    for layer in layers:
        if layer.non_finite:
            many = f"{layer.non_finite:,} of the {layer.numbers:,} numbers of {layer.path}"
            return Finding((layer.path,), f"{many} are infinite or not a number.")
    for layer in reversed(layers):
        faults = sum(each.non_finite for each in layer.parameters)
        if faults:
            many = f"{faults:,} of the {layer.size:,} numbers of the gradient of {layer.path}"
            return Finding((layer.path,), f"{many} are infinite or not a number.")
    if layers and not _is_finite(known.loss):
        evidence = f"The loss of what {layers[-1].path} puts out is {known.loss}."
        return Finding((layers[-1].path,), evidence)
    return None


def _not_learning(known: Known) -> Finding | None:
    """No better than an answer that looks at no input, and not on the way to it.

    Told by rows that are not trained on, where there are some: labels that mean nothing can be
    learnt by heart.
    """
    if known.step < known.patience or not known.baseline or len(known.losses) < 2 * WINDOW:
        return None
    before, now = _mean(known.losses[-2 * WINDOW : -WINDOW]), _mean(known.losses[-WINDOW:])
    rows = f"the last {WINDOW} steps"
    judged, is_falling = now, now < FALLING * before and now > known.baseline
    if known.validation is not None:
        rows, (before, judged) = "the validation rows at their best", known.validation
        is_falling = is_falling or judged < FALLING * before
    if judged < BEATEN * known.baseline or is_falling:
        return None
    evidence = (
        f"The loss of {rows} is {judged:.4g}; the best answer that looks at no input comes to "
        f"{known.baseline:.4g}."
    )
    return Finding((), evidence)


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule, what to try, how many looks have to agree, and after how many without it is gone."""

    rule: Rule
    advice: str
    agreeing: int = AGREEING
    gone: int = GONE


RULES: Mapping[DiagnosisCode, Entry] = {
    DiagnosisCode.NON_FINITE: Entry(
        _non_finite,
        "Lower the learning rate, set optimizer.clip_norm, or scale the data with data.normalize.",
        agreeing=1,
    ),
    DiagnosisCode.EXPLODING: Entry(
        _exploding,
        "Lower the learning rate by 10 or more, warm it up, or set optimizer.clip_norm.",
        agreeing=1,
    ),
    DiagnosisCode.SYMMETRY: Entry(
        _symmetry,
        "Begin with random weights: he_normal or glorot_normal as the layer's initializer.",
        agreeing=AGREEING_TWINS,
    ),
    DiagnosisCode.DEAD_UNITS: Entry(
        _dead_units,
        "Lower the learning rate, check the biases in front of it, or use leaky_relu or gelu.",
    ),
    DiagnosisCode.SATURATED: Entry(
        _saturated,
        "Make its inputs smaller: data.normalize, a layer_norm in front of it, glorot_normal, or a "
        "lower learning rate.",
    ),
    DiagnosisCode.VANISHING: Entry(
        _vanishing,
        "Use relu or gelu in place of sigmoid or tanh, residual blocks, layer_norm, or fewer "
        "layers.",
    ),
    DiagnosisCode.NOT_LEARNING: Entry(
        _not_learning,
        "Check that targets belong to their rows and can be told from the inputs; then try a "
        "learning rate 10 times higher and lower, and a larger model.",
        agreeing=1,
        gone=10,
    ),
}


@dataclass(slots=True)
class _Course:
    """One code's course: the newest findings, what was told, and how long it is gone.

    looks are the layers of findings without a gap between them.
    """

    agreeing: int
    gone: int
    looks: deque[frozenset[str]] = field(default_factory=deque)
    absent: int = 0
    told: frozenset[str] | None = None
    grade: float = 0.0

    def note(self, finding: Finding | None) -> None:
        """Takes note of one more look."""
        if finding is None:
            self.looks.clear()
            self.absent += 1
            self.told = None if self.absent >= self.gone else self.told
            return
        self.looks.append(frozenset(finding.layers))
        self.absent = 0
        if len(self.looks) > self.agreeing:
            self.looks.popleft()

    @property
    def common(self) -> frozenset[str]:
        """The layers that as many looks as have to agree on."""
        return frozenset.intersection(*self.looks) if self.looks else frozenset()

    def is_news(self, finding: Finding) -> bool:
        """Whether enough looks agree on some layers, and that was not told."""
        if len(self.looks) < self.agreeing or (finding.layers and not self.common):
            return False
        return self.told is None or finding.grade >= WORSE * self.grade or self._has_spread

    @property
    def _has_spread(self) -> bool:
        """Whether half as many layers again are concerned as were told."""
        told = self.told or frozenset()
        return 2 * len(self.common - told) >= max(1, len(told))

    def tell(self, finding: Finding) -> None:
        """Takes note of a diagnosis that was made."""
        self.told, self.grade = (self.told or frozenset()) | self.common, finding.grade


_NOT_LOOKED = Health(())


@dataclass(slots=True)
class Doctor:
    """Watches one run of a job.

    warmup_steps are those of its schedule; told are diagnoses of runs before it, which are not made
    again as long as they hold.
    """

    warmup_steps: int = 0
    told: Iterable[Diagnosis] = ()
    baseline: float | None = None
    _first_loss: float | None = None
    _losses: deque[float] = field(default_factory=lambda: deque(maxlen=2 * WINDOW))
    _validation: list[tuple[int, float]] = field(default_factory=list)
    _near_step: int | None = None
    _began: dict[str, float] = field(default_factory=dict)
    _courses: dict[DiagnosisCode, _Course] = field(init=False)
    _health: Health = _NOT_LOOKED
    _health_before: Health = _NOT_LOOKED

    def __post_init__(self) -> None:
        self._courses = {code: _Course(rule.agreeing, rule.gone) for code, rule in RULES.items()}
        for each in self.told:
            course = self._courses[each.code]
            course.told = (course.told or frozenset()) | frozenset(each.layers)
            course.grade = float("inf")

    def measured(self, split: str, step: int, loss: float) -> None:
        """Takes note of the loss of a split; of the best so far, that is."""
        if split != "validation" or not _is_finite(loss):
            return
        if not self._validation or loss < self._validation[-1][1]:
            self._validation.append((step, loss))

    def committed(self, report: StepReport) -> tuple[Diagnosis, ...]:
        """What there is to tell after a step."""
        if _is_finite(report.loss):
            self._losses.append(report.loss)
            self._first_loss = report.loss if self._first_loss is None else self._first_loss
        if self._near_step is None and report.loss < NEAR * (self.baseline or 0.0):
            self._near_step = report.step
        codes = self._due(report)
        return tuple(self._diagnoses(codes, self._known(report)))

    def _due(self, report: StepReport) -> Iterable[DiagnosisCode]:
        """What can be said at a step: most needs a whole look."""
        health = report.health
        if health is None:
            return _BY_LOSS if report.step % _LOSS_INTERVAL == 0 else ()
        self._health_before, self._health = self._health, health
        if not health.is_whole:
            return (DiagnosisCode.NON_FINITE,)
        for layer in health.layers:
            self._began.setdefault(layer.path, layer.weight_norm)
        return RULES

    def _known(self, report: StepReport) -> Known:
        return Known(
            step=report.step,
            loss=report.loss,
            health=self._health,
            health_before=self._health_before,
            began=self._began,
            first_loss=report.loss if self._first_loss is None else self._first_loss,
            losses=tuple(self._losses),
            patience=max(self.warmup_steps, self._near_step or 0) + PATIENCE,
            baseline=self.baseline,
            validation=self._best_of_validation(report.step - 2 * WINDOW),
        )

    def _best_of_validation(self, step: int) -> tuple[float, float] | None:
        """The lowest loss until a step, and that of all; None where nothing was measured."""
        if not self._validation:
            return None
        until = [loss for then, loss in self._validation if then <= step]
        return until[-1] if until else self._validation[0][1], self._validation[-1][1]

    def _diagnoses(self, codes: Iterable[DiagnosisCode], known: Known) -> Iterable[Diagnosis]:
        for code in codes:
            entry, course = RULES[code], self._courses[code]
            finding = entry.rule(known)
            course.note(finding)
            if finding is None or not course.is_news(finding):
                continue
            course.tell(finding)
            layers = tuple(path for path in finding.layers if path in course.common)
            yield Diagnosis(code, layers, finding.evidence, entry.advice, known.step)


_BY_LOSS = (DiagnosisCode.NOT_LEARNING,)
# Steps between two judgements of the loss alone.
_LOSS_INTERVAL = 10


def _worst_first(values: Mapping[str, float]) -> list[str]:
    return sorted(values, key=lambda path: -values[path])


def _mean(losses: tuple[float, ...]) -> float:
    return sum(losses) / len(losses)


def _cube_root(value: float) -> float:
    """Makes a multiple a grade: a thousand times is ten times as bad."""
    root: float = value ** (1 / 3)
    return root


def _is_finite(value: float) -> bool:
    return abs(value) < float("inf")


def _number(value: float) -> str:
    return f"{value:.3g}"
