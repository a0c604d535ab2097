"""Free memory within the limits of containers, on file systems that a test lays out."""

from __future__ import annotations

from pathlib import Path

import pytest
from metamery.framework.limits import free_memory

GB = 10**9
HOST = 64 * GB
V1 = "12:cpu,cpuacct:/jobs/mine\n9:memory:/jobs/mine\n1:name=systemd:/jobs\n0::/elsewhere\n"


def system(root: Path, groups: str, files: dict[str, str | int]) -> Path:
    files = {"proc/meminfo": f"MemTotal: 99 kB\nMemAvailable: {HOST // 1024} kB\n", "proc/self/cgroup": groups, **files}
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(content))
    return root


def v2(folder: str, most: str | int, used: int, caches: int = 0) -> dict[str, str | int]:
    at = f"sys/fs/cgroup/{folder}".rstrip("/")
    stat = f"anon {used - caches}\nfile {caches}\ninactive_file {caches}\n"
    return {f"{at}/memory.max": most, f"{at}/memory.current": used, f"{at}/memory.stat": stat}


def v1(folder: str, most: int, used: int, caches: int = 0) -> dict[str, str | int]:
    at = f"sys/fs/cgroup/memory/{folder}".rstrip("/")
    stat = f"cache {caches}\ntotal_inactive_file {caches}\n"
    return {f"{at}/memory.limit_in_bytes": most, f"{at}/memory.usage_in_bytes": used, f"{at}/memory.stat": stat}


@pytest.mark.parametrize(
    ("groups", "files", "free"),
    [
        ("0::/\n", {}, HOST),
        ("0::/\n", v2("", 8 * GB, 3 * GB), 5 * GB),
        ("0::/\n", v2("", "max", 3 * GB), HOST),
        ("0::/a/b\n", v2("a/b", 8 * GB, 3 * GB), 5 * GB),
        ("0::/a/b\n", {**v2("a/b", "max", GB), **v2("a", 4 * GB, 3 * GB)}, GB),
        ("0::/a/b\n", {**v2("a/b", 8 * GB, GB), **v2("a", 4 * GB, 3 * GB)}, GB),
        ("0::/a/b\n", {**v2("a/b", 2 * GB, GB), **v2("a", 40 * GB, 3 * GB)}, GB),
        ("0::/docker/1f0\n", v2("", 8 * GB, 3 * GB), 5 * GB),
        ("0::/../../other\n", v2("", 8 * GB, 3 * GB), 5 * GB),
        ("0::/a\n", v2("b", GB, GB), HOST),
        ("0::/a\n", v2("a", 8 * GB, 7 * GB, caches=6 * GB), 7 * GB),
        ("0::/a\n", v2("a", 8 * GB, 9 * GB), 0),
        ("0::/a:b\n", v2("a:b", 8 * GB, 3 * GB), 5 * GB),
        (V1, v1("jobs/mine", 8 * GB, 3 * GB), 5 * GB),
        (V1, {**v1("jobs/mine", 2**63 - 4096, GB), **v1("jobs", 4 * GB, 3 * GB)}, GB),
        (V1, v1("", 8 * GB, 3 * GB), 5 * GB),
        (V1, v1("jobs", 8 * GB, 7 * GB, caches=6 * GB), 7 * GB),
        (V1, v1("jobs/other", GB, GB), HOST),
    ],
)
def test_the_limits_of_a_process_s_own_group_and_of_its_parents_count(
    tmp_path: Path, groups: str, files: dict[str, str | int], free: int
) -> None:
    assert free_memory(system(tmp_path, groups, files)) == pytest.approx(free, abs=1024)


def test_limits_count_where_the_groups_are_not_told(tmp_path: Path) -> None:
    for number, files in enumerate((v2("", 8 * GB, 3 * GB), v1("", 8 * GB, 3 * GB))):
        root = system(tmp_path / str(number), "", files)
        (root / "proc/self/cgroup").unlink()
        assert free_memory(root) == 5 * GB


def test_this_system_states_its_free_memory() -> None:
    free = free_memory()
    assert free is None or free > 0
