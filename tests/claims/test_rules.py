"""The claims file is whole, and a mistake in it is named: claim, field, nearest valid one."""

import copy
import inspect
import itertools
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from granularity import notebook
from granularity.analysis.selection import select
from granularity.claims import columns, fixed, judging, rules
from granularity.experiments import imagenet, inaturalist
from granularity.inputs import renamed
from granularity.inputs.open_recipes import BEST_OF, is_open
from granularity.planning import sizes
from granularity.records import tables

ROOT = Path(__file__).resolve().parents[2]

TEXT = (ROOT / "book" / "claims.yml").read_text(encoding="utf-8")
BOOK = rules.read(TEXT)


def test_the_claims_of_the_paper():
    wanted = ["C1", "C2a", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9", "C10"]
    assert list(BOOK.claims) == wanted
    assert [BOOK.claims[name].mark for name in wanted] == ["P", "P", "O"] + ["P"] * 8


def test_table_1():
    table = BOOK.tables["table1"]
    accuracy = {row[1]: row[-1] for row in table.rows}
    assert accuracy == {None: 77.91, 0: 82.51, 1: 81.28, 2: 80.26, 4: 77.53, 6: 75.53, 9: 72.75}
    assert {row[1]: row[2] for row in table.rows}[9] == 38


def test_superclasses_add_up_to_all_species():
    assert sum(row[1] for row in BOOK.tables["inat_superclasses"].rows) == 10_000


def test_smoke_may_never_decide():
    for claim in BOOK.claims.values():
        assert all("smoke" not in rule.sizes for rule in claim.rules)


def leaves(rule: rules.Rule) -> list[rules.Rule]:
    """The parts of a rule that have none themselves, or the rule."""
    return [leaf for part in rule.parts.values() for leaf in leaves(part)] or [rule]


def test_rules_are_as_strict_as_the_protocol():
    for claim in BOOK.claims.values():
        newest = claim.rules[-1]
        for rule in (newest, *leaves(newest)):
            assert rule.seeds >= 8
            assert rule.interval == 0.95
            assert rule.refuted_by
            if rule.kind not in ("bound",):
                wanted = 0.025 if rule.relative_to else 0.020 if rule.kind == "located" else 0.010
                assert rule.smallest_effect == wanted
                gates = [g for g in rule.gate if g.metric == "training_error"]
                assert gates and gates[0].at_most == 0.05
    assert BOOK.claims["C3"].rules[-1].seeds == BOOK.claims["C4"].rules[-1].seeds == 10


def test_settings_of_the_theory_follow_the_stated_scaling():
    for name in ("C3", "C4"):
        for s in BOOK.claims[name].rules[-1].settings:
            scale = (128 / s["d"]) ** 0.5
            assert s["k"] == int(s["d"] ** 0.4)
            assert s["width"] == 32 * s["d"] // 128
            assert s["noise"] == pytest.approx(0.05 * scale, rel=1e-5)
            assert s["strong_noise"] == pytest.approx(0.5 * scale, rel=1e-5)


def test_named_columns_are_parameters_of_the_entry_point():
    """A misspelt column of a rule on theory runs would select nothing, for ever."""
    theory = pytest.importorskip("granularity.theory")
    for name in ("C3", "C4"):
        claim = BOOK.claims[name]
        selections = [shown.where for shown in claim.shows]
        for rule in claim.rules:
            selections += [*rule.arms.values(), *rule.settings]
        for selection in selections:
            theory.grid(**selection)


def test_without_runs_every_claim_is_not_run():
    for size in rules.SIZES:
        alone = {n: judging.in_force(c, pd.DataFrame(), size) for n, c in BOOK.claims.items()}
        found = judging.among_all(alone)
        assert {v.word for v in found.values()} == {"not run"}


def test_no_version_speaks_by_runs_of_an_older_one_alone():
    """A part that has runs already would let a new version speak before its own are made."""
    files = sorted((ROOT / "book/results/tiny").glob("i*.jsonl"))
    runs = tables.table(*files)
    for name in ("C1", "C2a", "C2", "C5", "C6", "C7", "C8", "C10"):
        rule, found = judging.in_force(BOOK.claims[name], runs, "tiny")
        not_run = [part for part, one in found.parts.items() if one.word == "not run"]
        assert not not_run, f"{name}, version {rule.version}: {not_run}"


def test_chapters_exist():
    for claim in BOOK.claims.values():
        if claim.chapter:
            assert (ROOT / "notebooks" / f"{claim.chapter}.ipynb").is_file()


def test_columns_of_rules_are_those_of_published_records():
    for kind, names in columns.COLUMNS.items():
        files = sorted((ROOT / "book/results").glob("t*/*.jsonl"))
        if kind == "hardness.split":
            continue  # worked out of several runs: of their columns, and those that a split has
        said, curves = set(), set()
        for record in (json.loads(line) for file in files for line in file.open(encoding="utf-8")):
            if record["kind"] == kind:
                said |= {*renamed.current(record["arguments"]), *record["metrics"]}
                curves |= set(renamed.current(record["curves"]))
        assert said <= names and names - said <= {"kind", "training_images"}
        assert columns.CURVES.get(kind, curves) == curves


# --------------------------------------------------------------------------------- mistakes


def broken(change) -> str:
    data = apart(yaml.safe_load(TEXT))
    change(data["claims"], data["tables"])
    return yaml.safe_dump(data)


def apart(data):
    """A copy without the sharing that YAML's anchors make: a change stays in one place."""
    if isinstance(data, dict):
        return {name: apart(value) for name, value in data.items()}
    return [apart(item) for item in data] if isinstance(data, list) else data


def first_rule(found, name):
    return found[name]["rules"][0]


def two_arms(found, tables):
    first_rule(found, "C3")["arms"]["other"] = {"labels": "fine"}


def only_gated(found, tables):
    line = first_rule(found, "C1")["parts"]["the line falls"]
    line["arms"] = {"baseline": line["arms"]["baseline"]}


@pytest.mark.fault(
    "a misspelt, missing or contradictory field in the file of claims",
    "refused, naming claim, field and the nearest valid one",
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c, t: c["C1"].update(statment="x"),
            r"claim C1: unknown field 'statment'.*'statement'",
        ),
        (lambda c, t: c["C1"].pop("where"), r"claim C1: field 'where' is missing"),
        (lambda c, t: c["C1"].update(mark="Q"), r"claim C1, field 'mark': unknown value 'Q'"),
        (lambda c, t: c["C5"]["paper"][0].update(mark="p1"), r"claim C5, paper.*'mark'"),
        (lambda c, t: first_rule(c, "C8").update(seedz=8), r"claim C8, rule 1.*'seedz'.*'seeds'"),
        (lambda c, t: first_rule(c, "C8").pop("seeds"), r"claim C8, rule 1: field 'seeds'"),
        (lambda c, t: first_rule(c, "C8").update(kind="contrst"), r"C8.*'kind'.*'contrast'"),
        (lambda c, t: first_rule(c, "C8").update(sizes=["smoke"]), r"C8.*'sizes'.*'smoke'"),
        (lambda c, t: first_rule(c, "C8").update(sizes=["tinny"]), r"C8.*'sizes'.*'tiny'"),
        (
            lambda c, t: first_rule(c, "C8").update(effect={"instence": 1}),
            r"C8.*'effect'.*'instance'",
        ),
        (lambda c, t: first_rule(c, "C8").update(date="soon"), r"C8.*'date'.*'soon'"),
        (lambda c, t: first_rule(c, "C8").update(version=2), r"C8.*'rules': versions"),
        (lambda c, t: first_rule(c, "C8").update(family="main"), r"C8.*'family'"),
        (lambda c, t: first_rule(c, "C8")["gate"][0].update(arm="base"), r"C8.*gate.*'baseline'"),
        (lambda c, t: first_rule(c, "C9")["arms"].pop("placebo"), r"C9.*arms.*'placebo'"),
        (lambda c, t: first_rule(c, "C3").update(effect={}), r"C3, rule 1: unknown field 'effect'"),
        (lambda c, t: first_rule(c, "C3")["conditions"][0].pop("at_least"), r"C3.*one of at_most"),
        (
            lambda c, t: first_rule(c, "C3")["conditions"][2].update(trend="rising"),
            r"C3.*'trend'.*'not rising'",
        ),
        (lambda c, t: first_rule(c, "C6")["parts"]["free"].pop("effect"), r"C6.*'free'.*'effect'"),
        (
            lambda c, t: first_rule(c, "C8").update(interval=95),
            r"C8.*'interval': 95 is not less than 1",
        ),
        (lambda c, t: first_rule(c, "C8").update(sizes=[]), r"C8.*'sizes': it is empty"),
        (lambda c, t: first_rule(c, "C6").update(parts={}), r"C6.*'parts': it is empty"),
        (lambda c, t: first_rule(c, "C3").update(conditions=[]), r"C3.*'conditions': it is empty"),
        (lambda c, t: c["C3"]["shows"][0].pop("metric"), r"claim C3, shows: field 'metric'"),
        (lambda c, t: t["table1"]["rows"].append([1]), r"table table1.*4 cells"),
        (lambda c, t: t["table1"].update(colums=[]), r"table table1.*'colums'.*'columns'"),
        (two_arms, r"C3, rule 1, field 'arms': a bound has one at most, not 'coarse', 'other'"),
        (
            lambda c, t: first_rule(c, "C3")["settings"][0].update(d="large"),
            r"C3, rule 1, field 'settings', '0', 'd': 'large' is not",
        ),
        (
            lambda c, t: first_rule(c, "C3")["settings"][0].update(dd=3),
            r"C3.*settings: unknown column 'dd'; did you mean 'd",
        ),
        (
            lambda c, t: first_rule(c, "C3")["settings"][0].update(patches=8),
            r"C3.*settings, field 'patches': the arm 'coarse' names it too",
        ),
        (
            lambda c, t: first_rule(c, "C3").update(settings=[{"d": 128}, {"d": 128}]),
            r"C3.*'settings': {'d': 128} stands twice",
        ),
        (
            lambda c, t: first_rule(c, "C3")["conditions"][1]["until"].update(times="ten"),
            r"C3.*until, field 'times': 'ten' is not a float",
        ),
        (
            lambda c, t: first_rule(c, "C3")["conditions"][1]["until"].update(curve="trainig_loss"),
            r"C3.*until: unknown curve 'trainig_loss'; did you mean 'training_loss'",
        ),
        (
            lambda c, t: first_rule(c, "C3")["conditions"][0].update(metric="hard_eror"),
            r"C3.*conditions: unknown column 'hard_eror'; did you mean 'hard_error'",
        ),
        (
            lambda c, t: first_rule(c, "C3")["conditions"][2].update(tolerance=-0.1),
            r"C3.*'tolerance': -0.1 is not at least 0",
        ),
        (
            lambda c, t: c["C3"]["shows"][0].update(metric="eror"),
            r"claim C3, shows: unknown column 'eror'",
        ),
        (lambda c, t: first_rule(c, "C8").update(seeds=-8), r"C8.*'seeds': -8 is not at least 2"),
        (lambda c, t: first_rule(c, "C8").update(seeds=True), r"C8.*'seeds': True is not an int"),
        (lambda c, t: first_rule(c, "C8").update(metric="eror"), r"C8.*column 'eror'.*'error'"),
        (lambda c, t: first_rule(c, "C8").update(metric=""), r"C8.*'metric': it is empty"),
        (
            lambda c, t: first_rule(c, "C8").update(records="inaturalist.transfr"),
            r"C8.*'records': unknown value.*'inaturalist.transfer'",
        ),
        (
            lambda c, t: first_rule(c, "C8").update(effect={"instance": "x", "baseline": -1}),
            r"C8.*'effect', 'instance': 'x' is not a float",
        ),
        (
            lambda c, t: first_rule(c, "C8").update(effect={"instance": 1, "baseline": 1}),
            r"C8.*'effect': its weights do not add up to 0",
        ),
        (
            lambda c, t: first_rule(c, "C8").update(effect={"instance": 0, "baseline": 0}),
            r"C8.*'effect': the weight of 'baseline' is 0",
        ),
        (
            lambda c, t: first_rule(c, "C8")["arms"]["baseline"].update(lables="target"),
            r"C8.*arms, baseline: unknown column 'lables'; did you mean 'labels'",
        ),
        (
            lambda c, t: first_rule(c, "C8")["arms"]["baseline"].update(labels=["target"]),
            r"C8, rule 1, field 'arms', 'baseline', 'labels'",
        ),
        (
            lambda c, t: first_rule(c, "C8")["gate"][0].update(metric="training_eror"),
            r"C8.*gate: unknown column 'training_eror'",
        ),
        (
            lambda c, t: first_rule(c, "C8")["gate"][0].update(at_most="little"),
            r"C8.*gate, field 'at_most': 'little' is not a float",
        ),
        (
            lambda c, t: first_rule(c, "C2a").update(cells={"target_images": []}),
            r"C2a.*cells, field 'target_images': it is empty",
        ),
        (
            lambda c, t: first_rule(c, "C2a").update(cells={"target_images": [50, 50]}),
            r"C2a.*cells, field 'target_images': \[50, 50\] has a value twice",
        ),
        (
            lambda c, t: first_rule(c, "C2a").update(cells={"overlap": ["contained"]}),
            r"C2a.*cells, field 'overlap': the arm 'baseline' names it too",
        ),
        (only_gated, r"C1.*'arms': none is on the line"),
        (
            lambda c, t: c["C8"]["rules"][3]["fixed"][0].update(are={"pretrainig": 1}),
            r"C8.*fixed: unknown column 'pretrainig'; did you mean 'pretraining'",
        ),
    ],
)
def test_a_mistake_is_named(change, message):
    with pytest.raises(rules.ClaimsError, match=f"(?s){message}"):
        rules.read(broken(change))


def test_an_old_version_stays_and_the_newest_judges():
    def newer(found, tables):
        rule = copy.deepcopy(first_rule(found, "C8"))
        rule |= {"version": len(found["C8"]["rules"]) + 1, "sizes": ["tiny"], "seeds": 12}
        rule |= {"date": found["C8"]["rules"][-1]["date"]}
        found["C8"]["rules"].append(rule | {"why": "more spread"})

    claim = rules.read(broken(newer)).claims["C8"]
    assert [rule.seeds for rule in claim.rules] == [8, 8, 8, 8, 8, 12]
    assert claim.rule("tiny").version == 6
    assert claim.rule("paper").version == 4, "the newest that may judge this size"


def test_methods_page_tells_the_recipe_as_the_data_do():
    page = (ROOT / "book" / "methods.md").read_text(encoding="utf-8")
    for row in BOOK.tables["vit_recipe"].rows:
        assert all(cell in page for cell in row), row


def recipe_tried(settings: dict, name: str, value: object) -> tuple[str, object]:
    """A parameter of a job; for a recipe that runs choose, the first of those that they try."""
    return name, settings[value[BEST_OF]][name][0] if is_open(value) else value


def runs_of(size: str) -> pd.DataFrame:
    """A made-up table of all runs that a size file's jobs would finetune, without metrics."""
    settings = yaml.safe_load((ROOT / f"notebooks/params/{size}.yaml").read_text())["runs"]
    rows = []
    for name, arm in (("imagenet/finetune", imagenet), ("inaturalist/transfer", inaturalist)):
        defaults = notebook.declared(ROOT / "notebooks" / f"{name}.ipynb")
        for setting, given in settings[name].items():
            for values in sizes.jobs_of(setting, given).values():
                chosen = [recipe_tried(settings[name], key, v) for key, v in values.items()]
                wanted = {**defaults, **dict(chosen)}
                known = inspect.signature(arm.arms).parameters
                own = {key: wanted[key] for key in (*COMMON, *known) if key in wanted}
                found = pd.DataFrame(arm.arms(**own))
                rows.append(
                    found.assign(kind=f"{arm.__name__.split('.')[-1]}.{name.split('/')[1]}")
                )
    table = pd.concat(rows, ignore_index=True)
    return table.assign(stages=[2 if recipe else 1 for recipe in table["finetuning"]])


COMMON = ("dataset", "overlap", "source_images", "target_images", "held_out", "seed", "pretraining")
COMMON += ("target", "training", "images", "embedding")


def settled(are: dict) -> dict:
    """What is known of a run before it is made: its arguments, and none of its counts."""
    return {name: value for name, value in are.items() if not name.endswith(("classes", "images"))}


def test_the_rules_at_scale_read_runs_that_the_size_file_makes():
    table = runs_of("paper")
    for claim in BOOK.claims.values():
        rule = claim.rule("paper")
        for one in rule.parts.values() or [rule]:
            runs = table[table["kind"] == one.records]
            for name, where in one.arms.items() if len(runs) else ():
                found = select(runs, where)
                demands = [replace(d, are=settled(d.are)) for d in (*rule.fixed, *one.fixed)]
                found, _ = fixed.parted(found, [where], demands)
                assert len(found), f"{claim.id}: no run is of the arm {name}"
                wide = one.kind == "slope"  # it reads many arms at once
                assert wide or not found["seed"].duplicated().any(), f"{claim.id}, {name}: two runs"
    judged = {claim.rule("paper").records for claim in BOOK.claims.values()}
    assert judged - set(table["kind"]) == {"theory.simulate", "hardness.split"}


@pytest.mark.parametrize("records", ["inaturalist.transfer", "imagenet.finetune"])
def test_the_rules_at_the_small_scale_read_runs_that_the_size_file_makes(records):
    """From the third version on: every arm has its seeds, and each of them once."""
    table = runs_of("tiny")
    table = table[table["kind"] == records]
    judged = [
        (name, rule)
        for name, claim in BOOK.claims.items()
        for rule in claim.rules
        if rule.version >= 3 and rule.sizes == ["tiny"] and rule.records == records
    ]
    assert len(judged) == {"inaturalist.transfer": 14, "imagenet.finetune": 6}[records]
    for name, rule in judged:
        for one in leaves(rule):
            seeds = list(range(20, 30) if one.seeds == 10 else range(10, 18))
            cells = one.cells.get("target_images", [None])
            for images, (arm, where) in itertools.product(cells, one.arms.items()):
                found = select(table, where | ({"target_images": images} if images else {}))
                told = f"{name}, version {rule.version}, {arm}, {images}"
                assert sorted(found["seed"]) == seeds, told


def test_runs_that_choose_a_rate_are_judged_by_no_rule():
    table = runs_of("tiny")
    choosing = table[table["seed"] == 100]
    assert choosing["held_out"].eq(True).all()
    for claim in BOOK.claims.values():
        for rule in claim.rules:
            if rule.records in set(table["kind"]) and "tiny" in rule.sizes:
                read = [*fixed.read_by(rule, choosing).values()]
                assert not any(len(some) for some in read), f"{claim.id}, {rule.version}"
