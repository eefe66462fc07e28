"""What can be wrong with data.

DataError        some fields of a data spec cannot be used; holds every fault (INVALID_ARGUMENT)
FileError        one file cannot be opened or is not what it says it is
ArrayError       a file is sound, one array or column of it holds no usable numbers
DataChanged      data is other than it was when the job was made (DATA_CHANGED)
DataUnreadable   data that was sound cannot be read now (DATA_UNREADABLE)
ObjectStoreFull  Ray's object store has no room for it (OBJECT_STORE_FULL)
StoreLost        the store or its depot does not answer: a matter of nodes (WORKER_LOST)

FileError and ArrayError stay inside this package: whoever knows the field makes a fault of them.
"""

from gradloom.worker.engine.spec import Fault


class DataError(Exception):
    """Every fault found in the data of a job."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__(faults)
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join(f"{fault.field}: {fault.description}" for fault in self.faults)


class FileError(Exception):
    """A file cannot be opened or is broken; the message is a sentence for its user."""


class ArrayError(Exception):
    """An array holds no usable numbers; the message follows its name: "holds text: …"."""


class DataChanged(Exception):
    """The data is not what the job was made with."""


class DataUnreadable(Exception):
    """Data that a job was made with cannot be read; the message says what, why, and what to do."""


class ObjectStoreFull(Exception):
    """Ray's object store has no room for the data; the message says how much was wanted."""


class StoreLost(Exception):
    """Blocks in Ray's object store are gone, or nobody answers for them."""
