"""A job's events as they come: a cursor into its history for each watcher, and no queue."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress

from gradloom.service.errors import InvalidRequest, OutOfRange, SpecFault, Unavailable
from gradloom.service.jobs.job import Job, Recorded, StateChanged
from gradloom.service.jobs.store import JobStore

# Read at once: few, since a change of state holds a whole job.
_BATCH = 16


class Streams:
    """The watchers of all jobs; they wait in the event loop and cost no thread."""

    def __init__(self, store: JobStore, *, idle_seconds: float) -> None:
        self._store = store
        self._idle_seconds = idle_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._is_draining = False
        self._unsubscribe = store.subscribe(self._committed)

    async def follow(self, name: str, after_revision: int) -> AsyncGenerator[Recorded | None, None]:
        """Events after the revision, up to that of the final state; None when idle for long.

        Raises NotFound, InvalidRequest below 0, OutOfRange beyond the newest event and
        Unavailable once the service drains.
        """
        job = await asyncio.to_thread(self._store.get, name)
        revision = _checked_revision(job, after_revision)
        with self._woken(name) as news:
            while True:
                self._refuse_while_draining(revision)
                news.clear()
                records = await asyncio.to_thread(self._store.history, name, revision, _BATCH)
                for record in records:
                    yield record
                    revision = record.revision
                    if _is_end(record):
                        return
                if not records and job.state.is_final:
                    return
                if not records and not await self._came(news):
                    yield None

    @property
    def watched(self) -> frozenset[str]:
        """Names of the jobs that someone follows now."""
        return frozenset(self._waiting)

    def drain(self) -> None:
        """Ends all streams, to be resumed elsewhere or later."""
        self._is_draining = True
        for name in self._waiting:
            self._wake(name)

    def close(self) -> None:
        """Listens to the store no more."""
        self._unsubscribe()

    @contextmanager
    def _woken(self, name: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever something was committed for the job."""
        self._loop = asyncio.get_running_loop()
        news = asyncio.Event()
        self._waiting.setdefault(name, set()).add(news)
        try:
            yield news
        finally:
            self._waiting[name].discard(news)
            if not self._waiting[name]:
                del self._waiting[name]

    async def _came(self, news: asyncio.Event) -> bool:
        """Whether there was news before it was idle for long."""
        try:
            await asyncio.wait_for(news.wait(), self._idle_seconds)
        except TimeoutError:
            return False
        return True

    def _committed(self, name: str) -> None:
        """Runs in the writer's thread."""
        loop = self._loop
        if loop is not None and name in self._waiting:
            # The loop may have ended meanwhile, and its watchers with it.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._wake, name)

    def _wake(self, name: str) -> None:
        for news in self._waiting.get(name, ()):
            news.set()

    def _refuse_while_draining(self, revision: int) -> None:
        if self._is_draining:
            raise Unavailable(
                f"The service is going down: resume after revision {revision}.",
                reason="DRAINING",
                metadata={"revision": str(revision)},
            )


def _checked_revision(job: Job, after_revision: int) -> int:
    if after_revision < 0:
        sentence = f"after_revision is {after_revision}: use 0 for the beginning."
        raise InvalidRequest([SpecFault("after_revision", sentence)])
    if after_revision > job.revision:
        raise OutOfRange(
            f"{job.name} is at revision {job.revision}, you asked after {after_revision}.",
            reason="REVISION_AHEAD",
            metadata={"revision": str(job.revision), "afterRevision": str(after_revision)},
        )
    return after_revision


def _is_end(record: Recorded) -> bool:
    return isinstance(record.event, StateChanged) and record.event.state.is_final
