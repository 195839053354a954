"""The mechanism's measure against worlds whose answer is known, and the rule that reads it."""

import numpy as np
import pandas as pd
import pytest
import torch
from made_up_rules import COMMON
from scipy.special import expit

from granularity.analysis.located import gains_by, located, uniform_gain
from granularity.analysis.statistics import Unfit, interval
from granularity.claims import judging, rules
from granularity.claims.outcome import NOT_RUN, REPRODUCED, UNDECIDED
from granularity.theory import network as networks
from granularity.theory import samples
from granularity.theory.measures import wrong
from granularity.theory.setting import Setting, stream
from granularity.theory.training import stacked, train

IMAGES, SEEDS = 3000, 8
PLACES = {  # by how much the fine arm's log-odds rise, by an image's true difficulty
    "hard": lambda difficulty: 1.0 * (difficulty > 0),
    "easy": lambda difficulty: 3.0 * (difficulty < 0.2),
    "uniform": lambda difficulty: np.full(len(difficulty), 0.73),
    "nowhere": lambda difficulty: np.zeros(len(difficulty)),
}


def arm(difficulty, rise, rng, seeds=SEEDS, own=0.0):
    """Runs whose log-odds to be right are those of an image, and a draw of their own.

    Two of them agree on the order of the images as pretrained networks do, at 0.89.
    """
    runs = {}
    for seed in range(seeds):
        odds = 0.5 - 5.5 * difficulty + rise + own * rng.standard_normal(IMAGES)
        margin = odds + rng.logistic(size=IMAGES)
        runs[seed] = {"loss": -margin, "rank": (margin < 0).astype(int)}
    return runs


def simulated(place, number, own=0.0):
    """Two arms over the same images; with `own` the fine arm's runs have noise of their own."""
    rng = np.random.default_rng([number, len(place)])
    difficulty = rng.standard_normal(IMAGES)
    fine = arm(difficulty, PLACES[place](difficulty), rng, own=own)
    return arm(difficulty, 0.0, rng), fine


def above(place, worlds=12):
    """In how many worlds the rule's demands on the effect and on its judge are met."""
    rows = [located(*simulated(place, n)) for n in range(worlds)]
    found = [interval(row["beyond_uniform"]) for row in rows]
    even = [abs(row["closeness"].mean()) <= 0.02 for row in rows]
    return sum(
        low > 0 and mean >= 0.02 and e for (mean, low, _), e in zip(found, even, strict=True)
    )


def test_known_answers():
    assert above("hard") == 12
    assert above("easy") == 0
    assert above("uniform") <= 2
    assert above("nowhere") <= 2


def test_a_very_large_gain_on_hard_images_is_left_undecided():
    """It shortens the fine arm's own order, so that the judge seems to stand nearer to the other.

    The demand on the judge errs on the side of no verdict.
    """
    rng = np.random.default_rng(1)
    difficulty = rng.standard_normal(IMAGES)
    coarse, fine = (arm(difficulty, rise, rng) for rise in (0.0, 3.0 * (difficulty > 0)))
    rows = located(coarse, fine)
    assert rows["beyond_uniform"].mean() > 0.04 and rows["closeness"].mean() > 0.02


def test_an_even_better_network_has_a_profile_that_is_taken_out():
    """Without taking it out, a uniform gain would be called one on hard images, or on easy ones."""
    rows = pd.concat([located(*simulated("uniform", n)) for n in range(6)])
    assert abs(rows["extra_gain_on_hard"].mean()) > 0.015
    assert abs(rows["beyond_uniform"].mean()) < 0.01


def test_the_uniform_gain_is_that_of_one_constant():
    """Against the chances that the runs were drawn with."""
    rng = np.random.default_rng(0)
    hardness = rng.random(200_000)
    odds = 2 - 4 * hardness
    right = rng.random(len(odds)) < expit(odds)
    found = uniform_gain(right, hardness, expit(odds + 0.7).mean())
    assert np.abs(found - (expit(odds + 0.7) - expit(odds))).max() < 0.01


@pytest.mark.parametrize("right", [np.ones(50, bool), np.zeros(50, bool)])
def test_a_run_without_errors_or_without_success_has_nothing_to_locate(right):
    with pytest.raises(Unfit, match="nothing to locate"):
        uniform_gain(right, np.linspace(0, 1, 50), 0.5)


def test_a_judge_of_other_seeds_takes_three():
    coarse, fine = simulated("hard", 0)
    with pytest.raises(Unfit, match="2 seeds of both arms"):
        located({0: coarse[0], 1: coarse[1]}, fine)


def test_numbers_by_hand():
    """Ten images that all judges order alike: the gain, and the gain on hard less that on easy."""
    loss = np.arange(10.0)
    coarse = {s: {"loss": loss, "rank": np.array([0, 0, 1, 0, 0, 1, 0, 1, 1, 1])} for s in range(3)}
    fine = {s: {"loss": loss, "rank": np.array([0, 0, 0, 0, 1, 0, 0, 0, 0, 1])} for s in range(3)}
    found = located(coarse, fine)
    assert found["gain"].tolist() == pytest.approx([0.3] * 3)
    assert found["extra_gain_on_hard"].tolist() == pytest.approx([2 / 4 - 1 / 4] * 3)
    assert found["closeness"].abs().max() < 1e-12
    assert (found["extra_gain_on_hard"] - found["uniform"]).tolist() == pytest.approx(
        found["beyond_uniform"].tolist()
    )


# ----------------------------------------------------------------------------- the theory's world

HARD, EASY = 400, 600
# Noise that leaves some easy samples wrong: where none is, there is nothing that they could gain,
# and a gain on the hard ones alone is what any better network would show.
WORLD = {"k": 4, "d": 64, "width": 16, "batch_size": 64, "steps": 120, "logged": 2}
WORLD |= {"noise": 0.4, "strong_noise": 0.6}


@torch.no_grad()
def learnt(labels, seeds=2, **more):
    """Which samples networks get wrong, all of one world: the first are hard by construction."""
    setting = Setting(labels=labels, **WORLD, **more)
    features = samples.dictionary(setting, stream(99, "dictionary"))
    test = samples.draw(setting, features, HARD + EASY, stream(99, "test"), hard=HARD)
    runs = []
    for seed in range(seeds):
        start = stacked([networks.initial(setting, stream(seed, "weights"))])
        batches = samples.batches(setting, features, stream(seed, "training"))
        moments = train(setting, start, map(stacked, zip(batches, strict=True)))
        missed = wrong(setting, moments[0][-1].network, test)
        runs.append({"rank": missed.numpy().astype(int)})
    return runs


def test_samples_that_are_hard_by_construction_say_yes_and_random_ids_no():
    """By the hardness that they were drawn with: fine labels gain on them, random ids nowhere."""
    hard = np.arange(HARD + EASY) < HARD
    coarse = learnt("coarse")
    fine, ids = (
        pd.DataFrame([gains_by(hard * 1.0, *pair) for pair in zip(coarse, runs, strict=True)])
        for runs in (learnt("fine"), learnt("random", classes=8))
    )
    assert fine["gain"].min() > 0.05 and fine["beyond_uniform"].min() > 0.03
    assert ids["gain"].max() < 0.02, "no gain to locate"


# ------------------------------------------------------------------------------------ the rule


RULE = COMMON | {
    "seeds": SEEDS,
    "kind": "located",
    "smallest_effect": 0.02,
    "even": 0.02,
    "least_gain": 0.02,
    "matched": 0.01,
    "gate": [{"metric": "training_error", "at_most": 0.05}],
    "arms": {name: {"labels": name} for name in ("coarse", "fine", "matched")},
}


def table(training_error=0.01, **arms):
    """Runs of arms, with what they kept."""
    rows = [
        {
            "kind": "train.run",
            "fingerprint": f"{name} {seed}",
            "labels": name,
            "seed": seed,
            "evaluation": run,
            "training_error": training_error,
        }
        for name, runs in arms.items()
        for seed, run in runs.items()
    ]
    return pd.DataFrame(rows)


def found(runs):
    return judging.verdict(rules.rule(RULE, "a test"), runs, "tiny")


@pytest.fixture(scope="module")
def arms():
    """A gain on hard images, and a placebo that is as good on the whole and better all over."""
    rng = np.random.default_rng(3)
    difficulty = rng.standard_normal(IMAGES)
    rises = {"coarse": 0.0, "fine": PLACES["hard"](difficulty), "matched": 0.73}
    return {name: arm(difficulty, rise, rng) for name, rise in rises.items()}


def test_a_gain_on_hard_images_is_reproduced(arms):
    said = found(table(**arms))
    assert said.word == REPRODUCED, said
    assert said.seeds == SEEDS and said.low > 0.02


def test_a_uniform_gain_is_not(arms):
    said = found(table(coarse=arms["coarse"], fine=arms["matched"], matched=arms["fine"]))
    assert said.word == "not reproduced", said


def test_a_placebo_with_the_same_profile_refutes(arms):
    rng = np.random.default_rng(5)
    same = {s: arms["fine"][(s + 1) % SEEDS] for s in rng.permutation(SEEDS)}
    said = found(table(**arms | {"matched": same}))
    assert said.word in ("not reproduced", UNDECIDED) and "matched placebo" in said.reason


@pytest.mark.parametrize(
    ("change", "word", "reason"),
    [
        (lambda arms: {**arms, "matched": {}}, UNDECIDED, "the matched placebo"),
        (lambda arms: {**arms, "matched": arms["coarse"]}, UNDECIDED, "no gain to locate"),
        (lambda arms: {**arms, "fine": arms["coarse"]}, UNDECIDED, "no gain to locate"),
        (lambda arms: {**arms, "fine": {}}, NOT_RUN, "no run of the arm 'fine'"),
        (lambda arms: {**arms, "coarse": {}, "fine": {}}, NOT_RUN, "no run"),
        (lambda arms: {**arms, "fine": dict(list(arms["fine"].items())[:7])}, UNDECIDED, "7 seeds"),
        (lambda arms: {**arms, "fine": {0: arms["fine"][0]}}, UNDECIDED, "takes three"),
        (lambda arms: {**arms, "fine": {**arms["fine"], 3: None}}, UNDECIDED, "kept nothing"),
        (
            lambda arms: {**arms, "matched": dict(list(arms["matched"].items())[:7])},
            UNDECIDED,
            "not matched: 7 seeds",
        ),
    ],
)
def test_what_leaves_it_open(arms, change, word, reason):
    said = found(table(**change(arms)))
    assert said.word == word and reason in said.reason, said


def test_an_arm_that_has_not_learnt_its_images_decides_nothing(arms):
    said = found(table(training_error=0.06, **arms))
    assert said.word == UNDECIDED and "regime not reached by the arm 'coarse'" in said.reason


def test_an_uneven_judge_decides_nothing(arms):
    """A fine arm whose runs agree with one another far less than those of the coarse one do."""
    coarse, fine = simulated("hard", 0, own=3.0)
    rows = located(coarse, fine)
    assert rows["closeness"].mean() > 0.02
    said = found(table(**arms | {"coarse": coarse, "fine": fine}))
    assert said.word == UNDECIDED and "the judge stands nearer to the arm 'coarse'" in said.reason


def test_the_rule_wants_its_three_arms():
    with pytest.raises(rules.ClaimsError, match="unknown field 'more'"):
        rules.rule(RULE | {"arms": {"more": {}, "coarse": {}, "fine": {}}}, "a test")
