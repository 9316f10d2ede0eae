"""How benchmarks time a peer and note the ratio."""

import time
from collections.abc import Callable


def seconds(work: Callable[[], object], rounds: int = 1) -> float:
    """The shortest of several runs."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def compare(benchmark, name: str, other_s: float, of: str = "min") -> float:
    """Note and print how long a peer takes over our best run, or our median one."""
    ours = benchmark.stats[of]
    ratio = other_s / ours
    benchmark.extra_info[name] = {"seconds": other_s, "ratio": ratio}
    print(f"\n{name}: {other_s:.4g} s, ours {ours:.4g} s, ratio {ratio:.3g}")
    return ratio
