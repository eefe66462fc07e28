"""Data in Ray's object store: an actor beside the service reads it, and each node fetches it once.

Files need to be where the service is, and nowhere else. The depot reads what a worker asks for,
puts it into the store in blocks, and answers with references; workers of one node read the same
memory. A reference that is lost, with its node or with the depot itself, is asked for again: the
depot (started anew by Ray) reads the files once more and holds them to their hashes.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import ray
from ray.exceptions import GetTimeoutError, ObjectStoreFullError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gradloom.worker.data.blocks import BLOCK_BYTES, Blocking
from gradloom.worker.data.container import Array
from gradloom.worker.data.errors import (
    DataChanged,
    DataError,
    DataUnreadable,
    FileError,
    ObjectStoreFull,
    StoreLost,
)
from gradloom.worker.data.file_blocks import FileBlocks
from gradloom.worker.data.files import locate
from gradloom.worker.data.parcels import packed, total_bytes, unpacked
from gradloom.worker.data.preparation import read_datasets
from gradloom.worker.data.prepared import Datasets, Request
from gradloom.worker.data.streams import NOTHING_GIVEN, Given
from gradloom.worker.data.survey import Survey
from gradloom.worker.data.wording import size

# One answer of the depot or the store; the third one that does not come is the last.
GET_SECONDS = 30.0
TRIES = 3
# The share of the smallest node's store that a job's data may take for good.
MOST_OF_STORE = 0.6
# Blocks for a store in which there is no room for large ones.
SMALL_BLOCK_BYTES = 1 << 20
# Jobs whose data the depot keeps for workers that come later, and blocks it keeps of each stream.
KEPT_DATASETS = 2
KEPT_BLOCKS = 8
_CALLS_AT_ONCE = 16

# Ray's own types say nothing about an actor's methods, nor that a decorated class has options.
Handle = Any
Reference = Any
Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the depot has not what it was asked for: the name of an error of ours, its message."""

    error: str
    message: str


# Errors that cross from the depot as refusals.
_ERRORS: dict[str, Callable[[str], Exception]] = {
    "DataChanged": DataChanged,
    "DataError": DataUnreadable,
    "DataUnreadable": DataUnreadable,
    "ObjectStoreFull": ObjectStoreFull,
    "StoreLost": StoreLost,
}


class Newest:
    """The newest answers by what was asked, each made once however many ask at the same time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._answers: OrderedDict[object, Future[Any]] = OrderedDict()

    def made(self, key: object, make: Callable[[], Kept], *, again: bool = False) -> Kept:
        """What make has given for this key, or gives now; a failure is not remembered."""
        with self._lock:
            known = self._answers.get(key)
            # One that is being made is not lost.
            if known is not None and again and known.done():
                known = None
            future: Future[Any] = known or Future()
            self._answers[key] = future
            self._answers.move_to_end(key)
            while len(self._answers) > self._most:
                self._answers.popitem(last=False)
        if known is None:
            self._make(key, future, make)
        return cast(Kept, future.result(timeout=GET_SECONDS * TRIES))

    def _make(self, key: object, future: Future[Any], make: Callable[[], Kept]) -> None:
        try:
            future.set_result(make())
        except Exception as error:
            with self._lock:
                if self._answers.get(key) is future:
                    del self._answers[key]
            future.set_exception(error)


class Depot:
    """Reads data and puts it into the store. Called by many workers at once.

    Callers say again where what they got the time before was lost. A Refusal may be the answer.
    """

    def __init__(self, store_bytes: int) -> None:
        """store_bytes is the size of the smallest node's object store."""
        self._store_bytes = store_bytes
        self._datasets = Newest(KEPT_DATASETS)
        self._streams: OrderedDict[str, _Stream] = OrderedDict()

    def datasets(self, request: Request, sha256: str, *, again: bool) -> Any:
        """All rows of a job as parcels; sha256 is that of the job's data."""
        key = (request, sha256)
        return _answer(
            lambda: self._datasets.made(
                key, lambda: self._shipped(read_datasets(request)), again=again
            )
        )

    def _shipped(self, data: Datasets) -> Datasets:
        wanted, room = total_bytes(data), int(MOST_OF_STORE * self._store_bytes)
        if wanted > room:
            raise ObjectStoreFull(_too_small(wanted, self._store_bytes))
        try:
            return packed(data, BLOCK_BYTES, ray.put)
        except ObjectStoreFullError:
            return _in_small_blocks(data, wanted, self._store_bytes)

    def open(self, key: str, survey: Survey, *, again: bool) -> Any:
        """Has a stream at hand under a name; its test rows as parcels, if there are any."""
        if key not in self._streams:
            self._streams[key] = _Stream(survey)
            while len(self._streams) > KEPT_DATASETS:
                self._streams.popitem(last=False)
        return _answer(lambda: self._datasets.made(key, lambda: self._test(survey), again=again))

    def _test(self, survey: Survey) -> Datasets | None:
        test = survey.test()
        return self._shipped(Datasets(test, None, ())) if test else None

    def process(self) -> int:
        """The number of its process."""
        return os.getpid()

    def block(self, key: str, number: int, *, again: bool) -> Any:
        """A reference to each array of a stream's block."""
        stream = self._streams.get(key)
        if stream is None:
            return Refusal("StoreLost", "The depot was started anew.")
        return _answer(
            lambda: stream.kept.made(number, lambda: self._put(stream, number), again=again)
        )

    def _put(self, stream: "_Stream", number: int) -> list[Reference]:
        try:
            return [ray.put(array) for array in stream.files.read(number)]
        except ObjectStoreFullError:
            raise ObjectStoreFull(_too_small(BLOCK_BYTES, self._store_bytes)) from None
        except OSError as error:
            text = f"{error.filename or stream.what} cannot be read: {error.strerror}"
            raise DataUnreadable(f"{text} (errno {error.errno}).") from None


class _Stream:
    """A stream's files, and the references to its newest blocks."""

    def __init__(self, survey: Survey) -> None:
        streamed = survey.streamed
        self.what = streamed.what
        self.files = FileBlocks(
            streamed.extents, streamed.request.roots, streamed.blocking, survey.digests
        )
        self.kept = Newest(KEPT_BLOCKS)


def _answer(answer: Callable[[], Kept]) -> "Kept | Refusal":
    """An answer, or the error of ours that came of it: Ray's own way mangles exceptions."""
    try:
        return answer()
    except (DataChanged, DataError, DataUnreadable, ObjectStoreFull) as error:
        return Refusal(type(error).__name__, str(error))


def _in_small_blocks(data: Datasets, wanted: int, store_bytes: int) -> Datasets:
    try:
        return packed(data, SMALL_BLOCK_BYTES, ray.put)
    except ObjectStoreFullError:
        raise ObjectStoreFull(_too_small(wanted, store_bytes)) from None


def _too_small(wanted: int, store_bytes: int) -> str:
    return (
        f"The data takes {size(wanted)} of Ray's object store, which has {size(store_bytes)}: "
        "start Ray with a larger object_store_memory, or set data.stream."
    )


def start_depot(name: str) -> Handle:
    """Starts the depot of a service on the service's node; Ray starts it anew when it dies."""
    node = ray.get_runtime_context().get_node_id()
    actor: Any = ray.remote(Depot)
    return actor.options(
        name=name,
        num_cpus=0,
        max_restarts=-1,
        # A call that meets its restart waits for it; all of them may be made twice.
        max_task_retries=TRIES,
        max_concurrency=_CALLS_AT_ONCE,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
    ).remote(_smallest_store())


def _smallest_store() -> int:
    """Bytes of the smallest object store among the nodes that live."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    stores = [int(n["Resources"].get("object_store_memory", 0)) for n in nodes if n["Alive"]]
    return min((each for each in stores if each), default=0)


def given_by(name: str, request: Request, sha256: str, survey: Survey | None) -> Given:
    """The data of a job, from the depot of this name; sha256 is that of the job's data.

    Where the store has no room for it, the worker reads the files itself, if they are there.
    Raises DataChanged, DataUnreadable, ObjectStoreFull, StoreLost.
    """
    depot = Client(name)
    if survey is not None:
        return depot.stream(sha256, survey)
    try:
        return Given(datasets=depot.datasets(request, sha256))
    except ObjectStoreFull:
        if not _are_here(request):
            raise
        return NOTHING_GIVEN


def _are_here(request: Request) -> bool:
    """Whether this node has the files of a job's data."""
    try:
        for path in request.spec.paths:
            locate(request.roots, path).close()
    except FileError:
        return False
    return True


class Client:
    """The depot as a worker sees it: every wait has an end, and what is lost is asked for again."""

    def __init__(self, name: str) -> None:
        self._name = name

    def datasets(self, request: Request, sha256: str) -> Datasets:
        """All rows of a job, in memory that is shared by the workers of a node."""
        return self.fetched("datasets", (request, sha256), lambda p: unpacked(p, fetched))

    def stream(self, key: str, survey: Survey) -> Given:
        """The blocks of a stream, and its test rows."""
        test = self.fetched("open", (key, survey), lambda p: p and unpacked(p, fetched))
        blocks = StoreBlocks(self, key, survey)
        return Given(survey=survey, blocks=blocks, test=test.data if test else None)

    def fetched(
        self, method: str, arguments: tuple[object, ...], fetch: Callable[[Any], Kept]
    ) -> Kept:
        """What is behind the references that a method answers with. Raises StoreLost."""
        why = StoreLost("")
        for attempt in range(TRIES):
            try:
                return fetch(self.asked(method, *arguments, again=attempt > 0))
            except StoreLost as error:
                why = error
        raise why

    def asked(self, method: str, *arguments: object, again: bool) -> Any:
        """The depot's answer. Raises what it was refused with, and StoreLost."""
        try:
            handle = ray.get_actor(self._name)
            call = getattr(handle, method).remote(*arguments, again=again)
            answer = ray.get(call, timeout=GET_SECONDS)
        except (RayError, GetTimeoutError, ValueError) as error:
            text = f"The depot of the service does not answer: {_first_line(error)}"
            raise StoreLost(text) from None
        if isinstance(answer, Refusal):
            raise _ERRORS[answer.error](answer.message)
        return answer


def fetched(references: Sequence[Reference]) -> Sequence[Array]:
    """The blocks behind references: views of the node's store. Raises StoreLost."""
    try:
        return cast(Sequence[Array], ray.get(list(references), timeout=GET_SECONDS))
    except (RayError, GetTimeoutError) as error:
        raise StoreLost(f"Blocks of the data are lost: {_first_line(error)}") from None


class StoreBlocks:
    """Blocks of a stream, read by the depot and fetched once a node."""

    def __init__(self, depot: Client, key: str, survey: Survey) -> None:
        self._depot = depot
        self._key = key
        self._survey = survey

    @property
    def blocking(self) -> Blocking:
        """See BlockSource."""
        return self._survey.streamed.blocking

    def read(self, number: int) -> tuple[Array, ...]:
        """See BlockSource."""
        try:
            return self._read(number)
        except StoreLost:
            self._depot.asked("open", self._key, self._survey, again=False)
            return self._read(number)

    def _read(self, number: int) -> tuple[Array, ...]:
        return tuple(self._depot.fetched("block", (self._key, number), fetched))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
