"""How fast the theory's training is, as ratios from one run: shortcut and dense loop, one and many.

Both sides of a ratio are measured in turn, in one process: on a busy machine it means more than
either.
"""

import statistics
import time

import torch

from granularity.theory.setting import Setting
from granularity.theory.training import Moment, trained


def shortcut(
    *,
    seed: int,
    threshold: float = 2.0,
    width: int = 256,
    k: int = 8,
    batch_size: int = 512,
    steps: int = 40,
    turns: int = 3,
    threads: int = 1,
    device: str = "cpu",
) -> dict:
    """Training on a fixed set with silent neurons left out, against the plain loop.

    `speedup` is the median of the turns' ratios, `largest_difference` that of any weight after the
    last step, to compare with `largest_change`, by which training moved one. `moved_neurons` is the
    share of neurons that ever moved.
    """
    torch.set_num_threads(threads)
    setting = Setting(
        **{
            "labels": "fine",
            "k": k,
            "threshold": threshold,
            "width": width,
            "batch_size": batch_size,
        },
        **{"finite_set": batch_size, "steps": steps, "logged": 2},
    )
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(turns + 1):
        paths = {}
        for way in (True, False) if turn % 2 else (False, True):
            paths[way], taken = timed_training((setting,), (seed,), device, leave_out=way)
            if turn:  # the first one warms both up
                seconds[way].append(taken)
    first, last = (paths[False][0][place].network.weights for place in (0, -1))
    ratios = [dense / short for short, dense in zip(seconds[True], seconds[False], strict=True)]
    return {
        "metrics": {
            "short_ms": 1e3 * statistics.median(seconds[True]) / steps,
            "dense_ms": 1e3 * statistics.median(seconds[False]) / steps,
            "speedup": statistics.median(ratios),
            "largest_difference": (paths[True][0][-1].network.weights - last).abs().max().item(),
            "largest_change": (last - first).abs().max().item(),
            "moved_neurons": (last != first).any(-1).float().mean().item(),
        }
    }


def together(
    *,
    seed: int,
    runs: int = 8,
    labels: str = "fine",
    width: int = 32,
    k: int = 8,
    batch_size: int = 512,
    steps: int = 20,
    turns: int = 3,
    threads: int = 1,
    device: str = "cpu",
) -> dict:
    """Several runs side by side as one batched computation, against the same runs one by one."""
    torch.set_num_threads(threads)
    values = {"labels": labels, "width": width, "k": k, "batch_size": batch_size, "steps": steps}
    setting = Setting(**values, logged=2)
    seeds = tuple(range(seed, seed + runs))
    seconds: dict[str, list[float]] = {"single": [], "batched": []}
    for turn in range(turns + 1):
        for way in ("single", "batched") if turn % 2 else ("batched", "single"):
            groups = [(one,) for one in seeds] if way == "single" else [seeds]
            taken = sum(
                timed_training((setting,) * len(group), group, device)[1] for group in groups
            )
            if turn:
                seconds[way].append(taken)
    pairs = zip(seconds["single"], seconds["batched"], strict=True)
    return {
        "metrics": {
            f"{way}_ms": 1e3 * statistics.median(found) / steps / runs
            for way, found in seconds.items()
        }
        | {"speedup": statistics.median(single / batched for single, batched in pairs)}
    }


@torch.no_grad()
def timed_training(
    settings: tuple[Setting, ...], seeds: tuple[int, ...], device: str, leave_out: bool = True
) -> tuple[list[list[Moment]], float]:
    """What `trained` gives, made anew, and the seconds that it took."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    begun = time.perf_counter()
    paths = trained.__wrapped__(settings, seeds, device, leave_out=leave_out)
    wait()
    return paths, time.perf_counter() - begun
