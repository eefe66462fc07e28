"""What the kernel says of a process's memory, in both versions of its interface."""

from pathlib import Path

import pytest

from gradloom.service.fleet.memory import allowed_bytes, has_risen, kills

FILES = {
    1: {
        "proc/7/cgroup": "9:name=systemd:/\n4:memory:/jobs/a\n2:cpu,cpuacct:/\n",
        "sys/fs/cgroup/memory/jobs/a/memory.oom_control": "oom_kill_disable 0\noom_kill 2\n",
        "sys/fs/cgroup/memory/jobs/a/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/jobs/memory.limit_in_bytes": "2000000000\n",
    },
    2: {
        "proc/7/cgroup": "0::/jobs/a\n",
        "sys/fs/cgroup/jobs/a/memory.events": "low 0\noom 3\noom_kill 2\n",
        "sys/fs/cgroup/jobs/a/memory.max": "max\n",
        "sys/fs/cgroup/jobs/memory.max": "2000000000\n",
    },
}
MACHINE = {"proc/meminfo": "MemTotal:  8000000 kB\n", "proc/vmstat": "pgfault 1\noom_kill 5\n"}


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in (files | MACHINE).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("version", FILES)
def test_a_kill_in_the_processs_cgroup_is_noticed(version: int, tmp_path: Path) -> None:
    root = written(tmp_path, FILES[version])
    (before,) = kills(7, root).items()
    assert before[1] == 2
    before[0].write_text("oom_kill 3\n")
    assert has_risen(dict([before]))


@pytest.mark.parametrize("version", FILES)
def test_the_least_limit_counts(version: int, tmp_path: Path) -> None:
    assert allowed_bytes(7, written(tmp_path, FILES[version])) == 2_000_000_000


def test_without_cgroups_the_machine_counts(tmp_path: Path) -> None:
    root = written(tmp_path, {})
    before = kills(7, root)
    assert not has_risen(before)
    (root / "proc/vmstat").write_text("oom_kill 6\n")
    assert has_risen(before)
    assert allowed_bytes(7, root) == 8_192_000_000
