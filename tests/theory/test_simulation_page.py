"""The page that shows the simulation beside its code: its text runs, and gives a run's numbers."""

import re
from pathlib import Path

import pytest

from granularity import theory

PAGE = Path(__file__).resolve().parents[2] / "book" / "simulation.md"


@pytest.mark.parametrize("labels", ["coarse", "fine"])
def test_the_page_s_run_is_the_library_s(labels):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert code.count('labels="fine"') == 1
    made = {}
    exec(code.replace('labels="fine"', f'labels="{labels}"'), made)
    own = theory.simulate(seed=0, labels=labels, k=8, steps=60, batch_size=128)["metrics"]
    assert float(f"{made['hard_error']:.5g}") == own["hard_error"]


def test_every_excerpt_is_some_lines_of_one_function():
    text = PAGE.read_text("utf-8")
    found = re.findall(r"literalinclude} (\S+)\n(.*?)```", text, re.DOTALL)
    assert len(found) == 10
    for file, options in found:
        start, end = (
            re.search(rf":{name}: \"?(.*?)\"?\n", options)[1] for name in ("start-at", "end-at")
        )
        lines = (PAGE.parent / file).read_text("utf-8").splitlines()
        first = next(number for number, line in enumerate(lines) if start in line)
        last = next(n for n in range(first, len(lines)) if end in lines[n])
        assert last - first < 20
        assert not any(line.startswith(("def ", "class ")) for line in lines[first:last])
