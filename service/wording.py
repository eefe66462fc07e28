"""Numbers, times and versions as people read them."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def count(value: float) -> str:
    """A whole number with separators: 48,200."""
    return f"{value:,.0f}"


def plural(value: int, word: str) -> str:
    """A number and its noun: 1 worker, 2 workers."""
    return f"{count(value)} {word}{'' if value == 1 else 's'}"


def measure(value: float) -> str:
    """A loss or a metric with three decimals, and as a power of ten where those would be lost."""
    return f"{value:.3f}" if value == 0 or 0.001 <= abs(value) < 1e6 else f"{value:.2e}"


def percent(part: float, whole: float) -> str:
    """A share: 40 %; a dash where there is no whole."""
    return f"{100 * part / whole:.0f} %" if whole else "–"


def seconds(value: float) -> str:
    """A short span: 0.3 s, 42 s; from a minute on in the largest unit."""
    if value < 10:
        return f"{value:.1f} s"
    return f"{value:.0f} s" if value < 60 else span(timedelta(seconds=value))


def span(value: timedelta) -> str:
    """A span in its largest unit: 40s, 6m, 2h, 3d."""
    total = max(0, int(value.total_seconds()))
    return next((f"{total // size}{unit}" for unit, size in _UNITS if total >= size), "0s")


def clock(value: datetime) -> str:
    """A time of day where the reader is: 10:31:40."""
    return f"{value.astimezone():%H:%M:%S}"


def countdown(value: float) -> str:
    """Seconds left, as minutes and seconds: 0:04."""
    minutes, rest = divmod(int(value), 60)
    return f"{minutes}:{rest:02}"


def amount(value: int) -> str:
    """A large number in thousands, millions, and so on: 940, 1.25 M."""
    whole = float(value)
    for unit in ("", " k", " M", " G", " T"):
        if whole < 1000:
            return f"{whole:.3g}{unit}"
        whole /= 1000
    return f"{whole:,.3g} P"


def size(value: int) -> str:
    """Bytes in the unit that suits: 3.2 MB."""
    amount = float(value)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} GB"


def versions_in_words(names: Iterable[str], versions: Mapping[str, str]) -> str:
    """Some of the versions that are installed somewhere."""
    return ", ".join(f"{name} {versions.get(name, 'none')}" for name in names)
