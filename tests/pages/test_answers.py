"""Tables of what was asked of photographs: their words and rounded numbers, from made-up runs."""

import itertools

import pandas as pd

from granularity.analysis.questions import ClassSizes, Lengths
from granularity.analysis.transfer_runs import Study
from granularity.pages import answers


def rows_of(table: pd.DataFrame) -> list[list]:
    return table.reset_index().to_numpy().tolist()


def test_a_row_for_each_length():
    errors = {("leaf", 10): 0.1, ("leaf", 1000): 0.2, ("level 9", 10): 0.4, ("level 9", 1000): 0.3}
    runs = [
        {"arm": arm, "steps": steps, "seed": seed, "error": error + 0.02 * seed}
        | {"training_error": 0.0}
        for ((arm, steps), error), seed in itertools.product(errors.items(), range(2))
    ]
    table = answers.of_lengths(Lengths(pd.DataFrame(runs), ["leaf", "level 9"], [10, 1000]))
    fit, same = "0%", "(+30.0 to +30.0)"  # both seeds lead by as much
    assert list(table.columns)[2:] == ["level 9 minus leaf, points", "training error, leaf"]
    assert rows_of(table) == [
        ["10", "11.0% (0.0–23.7)", "41.0% (28.3–53.7)", f"+30.0 {same}", fit],
        ["1,000", "21.0% (8.3–33.7)", "31.0% (18.3–43.7)", "+10.0 (+10.0 to +10.0)", fit],
    ]


def of_sizes() -> ClassSizes:
    errors = {("leaf", 50): 0.2, ("leaf", 10): 0.5, ("level 9", 50): 0.3, ("level 9", 10): 0.6}
    runs = [
        {"arm": arm, "source_images": images, "seed": 0, "error": error}
        | {"classes": 20 if arm == "leaf" else 4}
        for (arm, images), error in errors.items()
    ]
    return ClassSizes(pd.DataFrame(runs))


def test_a_row_for_each_size_of_class():
    assert rows_of(answers.of_class_sizes(of_sizes())) == [
        ["leaf labels", 10, 20, "10", "50.0%", 1],
        ["leaf labels", 50, 20, "50", "20.0%", 1],
        ["level 9", 10, 4, "50", "60.0%", 1],
        ["level 9", 50, 4, "250", "30.0%", 1],
    ]


def test_leads_at_equal_total_at_equal_class_size_and_on_equally_many_images():
    assert answers.leads_at_equal_size(of_sizes()) == (
        "- *leaf labels against level 9*: +10.0 points better at equal total; +40.0 at equal class "
        "size; +10.0 where both have 10 images per synset."
    )


def study(errors, seeds) -> Study:
    classes = {"baseline": 9, "rank:leaf": 90, "rank:depth8": 30}
    runs = [
        {"arm": arm, "kind_of_arm": arm.partition(":")[0], "seed": seed, "error": error + seed / 10}
        | {"training_error": 0.25, "classes": classes[arm]}
        for (arm, error), seed in itertools.product(errors.items(), seeds)
    ]
    return Study("", "tiny", pd.DataFrame(runs), {})


def test_gains_stand_by_rising_number_of_classes():
    found = study({"baseline": 0.5, "rank:leaf": 0.2, "rank:depth8": 0.4}, [0])
    assert rows_of(answers.of_gains(found, ["rank"])) == [
        ["cut at depth 8", "30", "40.0%", "+10.0", 1],
        ["leaf labels", "90", "20.0%", "+30.0", 1],
    ]


def test_networks_are_compared_on_the_seeds_and_arms_of_the_last():
    first = study({"baseline": 0.5, "rank:leaf": 0.2, "rank:depth8": 0.4}, [0, 1])
    last = study({"baseline": 0.7, "rank:leaf": 0.6}, [1])
    assert rows_of(answers.of_networks({"ResNet": first, "ViT": last}, last)) == [
        ["ResNet", "target, the baseline", "60.0%", "25.0%", "", 1],
        ["ResNet", "leaf labels", "30.0%", "25.0%", "+30.0", 1],
        ["ViT", "target, the baseline", "80.0%", "25.0%", "", 1],
        ["ViT", "leaf labels", "70.0%", "25.0%", "+10.0", 1],
    ]
