"""Each verdict is reached by a made-up table that deserves it, and by no other."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from made_up_rules import COMMON

from granularity.claims import judging, outcome, rules

CLAIMS = ROOT / "book/claims.yml"
CONTRAST = COMMON | {
    "kind": "contrast",
    "metric": "error",
    "smallest_effect": 0.010,
    "arms": {"coarse": {"labels": "coarse"}, "fine": {"labels": "fine"}},
    "effect": {"coarse": 1, "fine": -1},
}
WAVE = np.array([-1, 1, -1, 1, -1, 1, -1, 1])  # mean 0, deviation 1.069


def rule(**changes) -> rules.Rule:
    return rules.rule(CONTRAST | changes, "a test")


def runs(gain, spread=0.005, seeds=8, **more) -> pd.DataFrame:
    """Fine labels at error 0.2, coarse ones worse by `gain`, in pairs with that spread."""
    coarse = 0.2 + gain + spread * WAVE[:seeds]
    rows = [{"labels": "coarse", "seed": s, "error": e} for s, e in enumerate(coarse)]
    rows += [{"labels": "fine", "seed": s, "error": 0.2} for s in range(seeds)]
    return pd.DataFrame(rows).assign(kind="train.run", training_error=0.01, **more)


# Half an interval is 2.365 · 1.069 · spread / √8 = 0.894 · spread.
@pytest.mark.parametrize(
    ("table", "word", "reason"),
    [
        (runs(0.020), "reproduced", "above 0"),
        (runs(0.000), "not reproduced", "below the smallest effect, 1 point"),
        (runs(-0.100), "not reproduced", "below the smallest effect, 1 point"),
        (runs(0.006), "undecided", "mean is below the smallest effect"),  # from 0.0015 to 0.0105
        (
            runs(0.005, spread=0.004),
            "smaller than the smallest effect",
            "above 0 and below the smallest",
        ),
        (runs(0.004, spread=0.02), "undecided", "too wide"),
        (runs(0.020, seeds=7), "undecided", "7 seeds, and the rule wants 8"),
        (runs(0.020, seeds=1), "undecided", "1 seed, and"),
        (runs(0.020).query("labels == 'fine'"), "not run", "'coarse'"),
        (runs(0.020).query("labels == 'middle'"), "not run", "no run yet"),
        (runs(0.020).assign(kind="theory.simulate"), "not run", "no run yet"),
        (pd.DataFrame(), "not run", "no run yet"),
    ],
)
def test_contrast(table, word, reason):
    found = judging.verdict(rule(), table, "tiny")
    assert found.word == word
    assert reason in found.reason


def test_an_effect_may_be_a_share_of_an_arms_error():
    """0.020 of coarse labels' mean 0.22 are 9.1%: the paper states such a share, 8.76%."""
    found = judging.verdict(rule(relative_to="coarse"), runs(0.020, spread=0.0), "tiny")
    assert found.mean == pytest.approx(0.020 / 0.220)
    with pytest.raises(rules.ClaimsError, match="unknown arm 'coarce'; did you mean 'coarse'"):
        rule(relative_to="coarce")
    perfect = runs(-0.200, spread=0.0)
    said = judging.verdict(rule(relative_to="coarse"), perfect, "tiny")
    assert said.word == "undecided" and "makes no error" in said.reason


@pytest.mark.parametrize(
    ("words", "whole"),
    [
        (("reproduced", "smaller than the smallest effect"), "partly"),
        (("reproduced", "not reproduced"), "partly"),
        (("smaller than the smallest effect",) * 2, "smaller than the smallest effect"),
        (("smaller than the smallest effect", "not reproduced"), "not reproduced"),
        (("smaller than the smallest effect", "undecided"), "undecided"),
        (("reproduced", "undecided"), "undecided"),
        (("partly", "undecided"), "partly"),
    ],
)
def test_parts_that_differ(words, whole):
    parts = {str(n): outcome.Verdict(word, "…", 8) for n, word in enumerate(words)}
    assert judging.combine(parts).word == whole


@pytest.mark.parametrize(
    ("gains", "word"),
    [
        ((0.020, 0.020), "reproduced"),
        ((0.020, 0.000), "partly"),
        ((0.020, 0.006), "partly"),  # undecided on the second
        ((0.000, 0.000), "not reproduced"),
        ((0.020,), "not run"),
    ],
)
def test_a_claim_on_two_sets_holds_on_both_or_in_part(gains, word):
    """And waits for the runs of both, so that the version before goes on to speak."""
    own, common = (
        CONTRAST["arms"],
        {k: v for k, v in CONTRAST.items() if k not in ("arms", "effect")},
    )
    parts = {
        name: {
            "kind": "contrast",
            "effect": CONTRAST["effect"],
            "arms": {arm: where | {"images": n} for arm, where in own.items()},
        }
        for name, n in (("one", 50), ("other", 400))
    }
    made = rules.rule(common | {"kind": "sets", "parts": parts}, "a test")
    table = pd.concat([runs(g, images=n) for g, n in zip(gains, (50, 400), strict=False)])
    found = judging.verdict(made, table, "tiny")
    assert found.word == word
    judged = judging.among_all({"a": judging.Judged(made, found)})["a"]
    assert judged.word == word


def test_a_gate_without_an_arm_holds_for_each_arm():
    """Fine labels' mean training error of 8% is not made up for by the other arm's 1%."""
    table = runs(0.020)
    table.loc[table["labels"] == "fine", "training_error"] = 0.08
    gate = {"metric": "training_error", "at_most": 0.05}
    assert (
        judging.verdict(rule(gate=[gate | {"arm": "coarse"}]), table, "tiny").word == "reproduced"
    )
    found = judging.verdict(rule(gate=[gate]), table, "tiny")
    assert found.word == "undecided"
    assert found.reason.startswith("regime not reached by the arm 'fine': training error is 8.0%")


def test_the_numbers_behind_a_verdict():
    found = judging.verdict(rule(), runs(0.020), "tiny")
    assert found.seeds == 8
    assert (found.mean, found.low, found.high) == pytest.approx((0.020, 0.01553, 0.02447), abs=1e-5)
    assert 0 < found.p < 1e-4


def test_smoke_has_numbers_and_no_verdict():
    found = judging.verdict(rule(), runs(0.020), "smoke")
    assert (found.word, found.seeds) == ("machinery only", 8)
    assert found.mean == pytest.approx(0.020)
    assert judging.verdict(rule(), pd.DataFrame(), "smoke").word == "not run"


def test_the_gate():
    gate = [{"metric": "training_error", "arm": "coarse", "at_most": 0.05}]
    gated = rule(gate=gate)
    assert judging.verdict(gated, runs(0.020), "tiny").word == "reproduced"
    for table in (
        runs(0.020).assign(training_error=0.2),
        runs(0.020).drop(columns="training_error"),
        runs(0.020).assign(training_error=[0.01, *[None] * 15]),  # one run cannot speak for eight
    ):
        found = judging.verdict(gated, table, "tiny")
        assert (found.word, found.reason[:18]) == ("undecided", "regime not reached")


def test_direction_below_turns_the_sign():
    turned = rule(direction="below")
    assert judging.verdict(turned, runs(-0.020), "tiny").word == "reproduced"


@given(st.floats(-0.05, 0.05), st.floats(0, 0.05), st.floats(-0.2, 0.2), st.randoms())
def test_order_and_common_shift_change_no_verdict(gain, spread, shift, rng):
    table = runs(gain, spread)
    order = list(range(len(table)))
    rng.shuffle(order)
    moved = table.iloc[order].assign(error=lambda t: t["error"] + shift)
    first, second = (judging.verdict(rule(), t, "tiny") for t in (table, moved))
    edges = (first.low, first.mean - 0.010, first.high - 0.010)
    if min(map(abs, edges)) > 1e-9:  # a verdict on the very edge may turn with rounding
        assert first.word == second.word
    assert first.mean == pytest.approx(second.mean, abs=1e-12)


# --------------------------------------------------------------------------- parts and cells


def cells(gain_small, gain_large) -> pd.DataFrame:
    return pd.concat([runs(gain_small, images=50), runs(gain_large, images=400)])


@pytest.mark.parametrize(
    ("gains", "word"),
    [
        ((0.02, 0.03), "reproduced"),
        ((0.00, -0.01), "not reproduced"),
        ((0.02, 0.00), "partly"),
        ((0.02, 0.006), "undecided"),
    ],
)
def test_cells(gains, word):
    found = judging.verdict(rule(cells={"images": [50, 400]}), cells(*gains), "tiny")
    assert found.word == word
    assert list(found.parts) == ["images 50", "images 400"]


def test_a_version_is_in_force_once_all_its_seeds_have_run():
    """A newer one may be written before its runs, and until they are there the older one speaks."""
    newer = {
        "version": 2,
        "why": "Other runs.",
        "arms": {"coarse": {"labels": "c"}, "fine": {"labels": "f"}},
    }
    old, new = rule(), rule(**newer)
    claim = dataclasses.replace(rules.read(CLAIMS.read_text()).claims["C8"], rules=(old, new))
    renamed = runs(0.02).replace({"labels": {"coarse": "c", "fine": "f"}})
    assert judging.in_force(claim, runs(0.02), "tiny").rule is old
    assert judging.in_force(claim, pd.concat([runs(0.02), renamed]), "tiny").rule is new
    for some in (renamed[renamed["seed"] < 7], renamed[(renamed["labels"] == "c")]):
        assert judging.in_force(claim, pd.concat([runs(0.02), some]), "tiny").rule is old
    few = renamed[renamed["seed"] < 7]
    assert judging.in_force(claim, few, "tiny").rule is new  # where no version has its seeds
    assert judging.in_force(claim, renamed, "tiny").rule is new
    assert judging.in_force(claim, pd.DataFrame(), "tiny").rule is new
    for table in (runs(0.02), renamed.assign(error=0.2), pd.DataFrame(), runs(0.0)):
        for size in ("tiny", "smoke"):
            found = judging.in_force(claim, table, size)
            assert found.verdict == judging.verdict(found.rule, table, size)


def test_parts_inherit_and_differ():
    turned = {"coarse": -1, "fine": 1}
    common = {name: value for name, value in CONTRAST.items() if name != "effect"}
    parted = rules.rule(
        common
        | {"kind": "parts"}
        | {
            "parts": {
                "one way": {"kind": "contrast", "effect": CONTRAST["effect"]},
                "the other": {"kind": "contrast", "effect": turned},
            }
        },
        "a test",
    )
    assert judging.verdict(parted, runs(0.020), "tiny").word == "partly"
    assert judging.verdict(parted, runs(0.020), "smoke").word == "machinery only"
    assert judging.verdict(parted, pd.DataFrame(), "tiny").word == "not run"


# ------------------------------------------------------------------------------------- Holm


def among_all(by_name, table):
    alone = {n: judging.Judged(r, judging.verdict(r, table, "tiny")) for n, r in by_name.items()}
    return judging.among_all(alone)


def test_holm_holds_back_a_contrast_that_is_one_of_many():
    table = runs(0.010, spread=0.0105)  # p about 0.03 alone
    alone = {"a": rule(family="primary")}
    many = {name: rule(family="primary") for name in "abc"}
    assert among_all(alone, table)["a"].word == "reproduced"
    found = among_all(many, table)
    assert {v.word for v in found.values()} == {"undecided"}
    assert "Holm" in found["a"].reason
    exploratory = {name: rule() for name in "abc"}
    assert among_all(exploratory, table)["a"].word == "reproduced"


def test_holm_reaches_into_cells_and_counts_those_not_run():
    weak, strong = runs(0.010, spread=0.0105, images=50), runs(0.030, images=400)
    three = rule(family="primary", cells={"images": [50, 400, 800]})
    judged = among_all({"a": three}, pd.concat([weak, strong]))["a"]
    assert [v.word for v in judged.parts.values()] == ["undecided", "reproduced", "not run"]
    assert judged.word == "undecided"


# ------------------------------------------------------------------------------------ slopes


def on_a_line(slope, seeds=8) -> pd.DataFrame:
    rows = [
        {"labels": "level", "seed": s, "classes": 2**i, "error": 0.4 + slope * i + 0.001 * s * i}
        for s in range(seeds)
        for i in (1, 3, 5)
    ]
    return pd.DataFrame(rows).assign(kind="train.run")


def test_slope():
    given = COMMON | {"kind": "slope", "metric": "error", "along": "classes", "direction": "below"}
    given |= {"smallest_effect": 0.010, "arms": {"levels": {"labels": "level"}}}
    falls = rules.rule(given, "a test")
    assert judging.verdict(falls, on_a_line(-0.02), "tiny").word == "reproduced"
    assert judging.verdict(falls, on_a_line(0.02), "tiny").word == "not reproduced"
    assert judging.verdict(falls, on_a_line(-0.02, seeds=3), "tiny").word == "undecided"
    two = on_a_line(-0.02).query("classes < 20")
    assert "three values" in judging.verdict(falls, two, "tiny").reason
    # a line from (1, 3, 5) doublings falls by 4 · 0.02, less 4 · 0.001 for each seed's number
    assert judging.verdict(falls, on_a_line(-0.02), "tiny").mean == pytest.approx(0.08 - 0.014)


def test_a_slope_wants_every_arm_that_its_rule_names():
    given = COMMON | {"kind": "slope", "metric": "error", "along": "classes", "direction": "below"}
    arms = {f"{k} classes": {"labels": "level", "classes": k} for k in (2, 8, 32, 64)}
    rule = rules.rule(given | {"smallest_effect": 0.010, "arms": arms}, "a test")
    found = judging.verdict(rule, on_a_line(-0.02), "tiny")
    assert (found.word, found.reason) == ("undecided", "no run of arm '64 classes'")
    more = on_a_line(-0.02).query("classes == 2").assign(classes=64, error=0.25)
    everything = pd.concat([on_a_line(-0.02), more])
    assert judging.verdict(rule, everything, "tiny").word == "reproduced"


# ----------------------------------------------------------------------------------- placebo


def split(effect, placebo, null, spread=0.005, seeds=8, whole=0.0, left=0.01) -> pd.DataFrame:
    means = {"leaf": effect, "random": placebo, "baseline": null}
    return pd.DataFrame(
        [
            {
                "compared": name,
                "seed": s,
                "extra": mean + spread * WAVE[s] * (-1) ** i,
                "whole": (whole if name == "random" else 0.1) + spread * WAVE[s],
            }
            for i, (name, mean) in enumerate(means.items())
            for s in range(seeds)
        ]
    ).assign(kind="train.run", training_error=left)


@pytest.mark.parametrize(
    ("table", "word", "reason"),
    [
        (split(0.05, 0.00, 0.00), "reproduced", "above 0"),
        (split(0.05, 0.05, 0.00), "not reproduced", "placebo"),
        (split(0.00, 0.00, 0.00), "not reproduced", "below"),
        (split(0.05, 0.044, 0.00), "undecided", "overlap"),
        (split(0.05, 0.05, 0.00, whole=-0.1), "undecided", "worse on the whole"),
        (split(0.05, 0.00, 0.00, whole=-0.1), "reproduced", "above 0"),
        (split(0.00, 0.05, 0.00, whole=-0.1), "not reproduced", "below"),
        (split(0.05, 0.00, 0.03), "undecided", "favours"),
        (split(0.00, 0.00, 0.03), "undecided", "favours"),  # nor does it refute
        (split(0.00, 0.00, 0.00).query("compared != 'baseline'"), "undecided", "0 of 0 runs say"),
        (split(0.05, 0.00, 0.00, left=0.2), "undecided", "regime not reached"),
        (split(0.05, 0.05, 0.00, left=0.2), "undecided", "regime not reached"),
        (split(0.00, 0.00, 0.00, left=0.2), "undecided", "regime not reached"),
        (split(0.00, 0.00, 0.00, seeds=7), "undecided", "7 seeds"),
        (split(0.05, 0.00, 0.00, seeds=7), "undecided", "7 seeds"),
        (split(0.05, 0.00, 0.00).query("compared != 'random'"), "undecided", "'placebo'"),
        (pd.DataFrame(), "not run", "no run"),
    ],
)
def test_placebo(table, word, reason):
    given = COMMON | {"kind": "placebo", "metric": "extra", "smallest_effect": 0.010}
    given["overall"] = "whole"
    given["gate"] = [{"metric": "training_error", "at_most": 0.05, "arm": "null"}]
    arms = {"effect": "leaf", "placebo": "random", "null": "baseline"}
    given["arms"] = {name: {"compared": value} for name, value in arms.items()}
    found = judging.verdict(rules.rule(given, "a test"), table, "tiny")
    assert found.word == word
    assert reason in found.reason


# ------------------------------------------------------------------------------------ bounds


BOUND = COMMON | {
    "kind": "bound",
    "settings": [{"d": 128}, {"d": 256}],
    "gate": [{"metric": "loss", "at_most": 0.01}],
    "conditions": [
        {"metric": "hard", "at_least": 0.1},
        {"metric": "hard", "trend": "not falling", "tolerance": 0.01},
        {"metric": "easy", "at_most": 0.01, "at": "last"},
        {
            "metric": "hard",
            "at_least": 0.1,
            "until": {"curve": "loss", "at_most": 0.01, "times": 10},
        },
    ],
}


def theory(hard=(0.3, 0.4), easy=0.001, loss=0.001, spread=0.01, low=0.3, last=4, seeds=8):
    """Two dimensions; the loss is met at step 5, and the hard error passes `low` at step 50."""
    steps = [0, 5, 20, 50, 100]
    return pd.DataFrame(
        [
            {
                "d": d,
                "seed": s,
                "hard": mean + spread * WAVE[s],
                "easy": easy,
                "loss": loss,
                "curves": {
                    "step": steps[: last + 1],
                    "loss": [0.7, loss, loss, loss, loss][: last + 1],
                    "hard": [0.5, 0.4, 0.3, low, mean][: last + 1],
                },
            }
            for d, mean in zip((128, 256), hard, strict=True)
            for s in range(seeds)
        ]
    ).assign(kind="train.run")


def apart_in_seeds() -> pd.DataFrame:
    """Eight seeds at either dimension, seven of them common."""
    table = theory()
    return table.assign(seed=table["seed"] + (table["d"] == 256))


@pytest.mark.parametrize(
    ("table", "word", "reason"),
    [
        (theory(), "reproduced", "all 4 conditions hold"),
        (theory(hard=(0.3, 0.05)), "not reproduced", "hard at least 0.1"),
        (theory(hard=(0.4, 0.3)), "not reproduced", "not falling"),
        (theory(easy=0.05), "not reproduced", "easy at most 0.01 at the last"),
        (theory(low=0.05), "not reproduced", "hard at least 0.1"),  # seen on the way only
        (theory(hard=(0.3, 0.295), spread=0), "reproduced", "all"),  # within the tolerance
        (theory(hard=(0.1, 0.1), spread=0.05), "undecided", "unclear"),
        (theory(loss=0.02), "undecided", "regime not reached: loss"),
        (theory(last=2), "undecided", "ends at step 20"),
        (theory(seeds=5), "undecided", "5 seeds"),
        (theory().query("d == 128"), "undecided", "no run at d 256"),
        (theory().assign(d=64), "not run", "runs at none of the 2 settings"),
        (apart_in_seeds(), "undecided", "share 7 seeds, and the rule wants 8"),
        (pd.DataFrame(), "not run", "no run yet"),
    ],
)
def test_bound(table, word, reason):
    found = judging.verdict(rules.rule(BOUND, "a test"), table, "tiny")
    assert found.word == word
    assert reason in found.reason
