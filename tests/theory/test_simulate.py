"""The theory's parameters, data and labels, each against its definition."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_simulation import MINUS, PLUS, alone, simulation  # noqa: F401

from granularity import notebook, theory
from granularity.fingerprints import source
from granularity.theory import samples as sampling
from granularity.theory.setting import Setting


def parts(samples, features):
    """Coefficients of each patch on the dictionary (N, P, 2 + 2k), norm of the rest (N, P)."""
    coefficients = samples.patches @ features.T
    return coefficients, (samples.patches - coefficients @ features).norm(dim=-1)


# --- Settings: what is possible, and what is refused


@pytest.mark.fault(
    "an impossible setting of the theory: {values}", "refused by name, with the possible values"
)
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"labels": "coarser"}, "labels must be one of coarse, .* not 'coarser'; .* is 'coarse'"),
        ({"activation": "Relu"}, "activation must be one of relu, .*; the nearest one is 'relu'"),
        ({"labels": "merged", "classes": 5}, "classes of merged labels .* a multiple of 2, not 5"),
        ({"labels": "merged", "classes": 18}, "must be between 2 and 16 and a multiple of 2"),
        ({"labels": "overfine", "classes": 24}, "at least 16 and a multiple of 16, not 24"),
        ({"labels": "misaligned", "classes": 9}, "must be between 1 and 8, not 9"),
        ({"labels": "fine", "classes": 16}, "must be 0, since the labels say their number"),
        ({"k": 0}, "k must be at least 1, not 0"),
        ({"k": 64}, "d must be at least 130 .* not 128"),
        ({"patches": 3}, r"patches must be at least 4 \(.*, not 3"),
        ({"patches": 6, "opposing_patches": 4}, r"patches must be at least 7 \(.*s†.*, not 6"),
        ({"noise": -0.1}, "noise must be at least 0, not -0.1"),
        ({"noise": math.nan}, "noise must be a finite number, not nan"),
        ({"learning_rate": math.inf}, "rate must be a finite number, not inf"),
        ({"amplitude_spread": 1.5}, "amplitude_spread must be at most 1, not 1.5"),
        ({"finite_set": 100}, "finite_set must be 0 or at least batch_size = 512, not 100"),
        ({"k": 8.0}, "k must be an int, not 8.0"),
        ({"steps": True}, "steps must be an int, not True"),
        ({"learning_rate": "0.2"}, "rate must be a float, not '0.2'"),
    ],
)
def test_an_impossible_setting_is_refused_by_name(values, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Setting(**values)


def test_equal_settings_look_equal():
    first, second = Setting(noise=1), Setting(noise=1.0)
    assert first == second
    assert json.dumps(first.noise) == json.dumps(second.noise) == "1.0"


def test_a_grid_takes_scalars_and_lists_and_fills_in_the_defaults():
    settings = theory.grid(labels=["coarse", "fine"], k=[2, 4], seed=[0, 1, 2], noise=0)
    assert len(settings) == 12
    assert [row["seed"] for row in settings[:4]] == [0, 1, 2, 0]
    assert all(row["noise"] == 0.0 and row["width"] == 32 for row in settings)
    assert settings == json.loads(json.dumps(settings))
    assert theory.grid() == theory.grid(labels="coarse", seed=[0])


def test_a_grid_refuses_what_a_run_would():
    with pytest.raises(TypeError, match="'widht'; the nearest one is 'width'"):
        theory.grid(widht=3)
    with pytest.raises(ValueError, match="k must be at least 1"):
        theory.grid(k=[2, 0])


@pytest.mark.parametrize("seed", [-1, 1.0, True, None])
def test_a_seed_is_a_natural_number(seed):
    with pytest.raises(ValueError, match="seed must be an integer"):
        theory.simulate(seed=seed)


# --- The data, by its definition


@pytest.mark.parametrize(("d", "k"), [(128, 8), (34, 16), (7, 1)])
def test_the_dictionary_is_orthonormal(d, k):
    _, features, _ = simulation(d=d, k=k)
    assert features.shape == (2 + 2 * k, d)
    torch.testing.assert_close(features @ features.T, torch.eye(2 + 2 * k), atol=1e-5, rtol=0)


def test_labels_are_balanced():
    setting, features, generator = simulation(k=4)
    samples = theory.draw(setting, features, 16_000, generator)
    counts = torch.bincount(samples.y * 4 + samples.c, minlength=8)
    # 2,000 expected for each of the 8 pairs, deviation 42.
    assert counts.sum() == 16_000
    assert (counts - 2000).abs().max() < 5 * 42
    assert set(samples.y.tolist()) == {PLUS, MINUS}
    assert samples.c.min() == 0
    assert samples.c.max() == 3


def test_targets_are_the_superclass_or_the_pair():
    setting, features, generator = simulation(k=3, labels="fine")
    samples = theory.draw(setting, features, 500, generator)
    assert torch.equal(samples.targets(setting), samples.y * 3 + samples.c)
    assert torch.equal(samples.targets(replace(setting, labels="coarse")), samples.y)


# Without noise a patch is exactly what the definition says, so kinds can be counted.
EXACT = {"noise": 0, "strong_noise": 0, "k": 3, "opposing_patches": 2, "patches": 9}


@pytest.mark.parametrize("kind", theory.KINDS)
def test_patches_hold_what_the_kind_says_and_nothing_else(kind):
    setting, features, generator = simulation(**EXACT)
    samples = theory.draw(setting, features, 300, generator, kind)
    coefficients, rest = parts(samples, features)
    held = theory.KINDS[kind]
    wanted = {"common": 2, "fine": 2, "opposing": 2}
    rows = torch.arange(300)
    found = {
        "common": coefficients[rows, :, samples.y],
        "fine": coefficients[rows, :, 2 + 3 * samples.y + samples.c],
        "opposing": coefficients[rows, :, 1 - samples.y],
    }
    for part, values in found.items():
        present = values.abs() > 1e-5
        assert (present.sum(1) == (wanted[part] if part in held else 0)).all(), part
        amplitudes = values[present]
        if part == "opposing":
            torch.testing.assert_close(amplitudes, torch.full_like(amplitudes, 0.1))
        elif part in held:
            assert 0.9 <= amplitudes.min() < 0.91
            assert 1.09 < amplitudes.max() <= 1.1001
            assert amplitudes.mean().item() == pytest.approx(1, abs=0.01)
    total = sum(wanted[part] for part in held if part in wanted)
    assert ((coefficients.abs() > 1e-5).sum((1, 2)) == total).all()
    assert rest.max() < 1e-5


@pytest.mark.parametrize("kind", theory.KINDS)
def test_noise_has_its_level_and_one_patch_at_most_is_strong(kind):
    setting, features, generator = simulation()
    samples = theory.draw(setting, features, 400, generator, kind)
    _, rest = parts(samples, features)
    free = 128 - 18  # dimensions outside the dictionary
    strong = rest > math.sqrt(0.05 * 0.5 * free)
    assert (strong.sum(1) == ("strong" in theory.KINDS[kind])).all()
    assert rest[~strong].square().mean().item() == pytest.approx(0.05**2 * free, rel=0.02)
    if strong.any():
        assert rest[strong].square().mean().item() == pytest.approx(0.5**2 * free, rel=0.05)


def test_noise_fills_all_directions_alike():
    setting, features, generator = simulation(k=2, patches=8)
    samples = theory.draw(setting, features, 4000, generator)
    plain = samples.patches[:, 4:].flatten(0, 1)  # an easy sample has 2 s* = 4 feature patches
    covariance = plain.T @ plain / len(plain)
    torch.testing.assert_close(covariance, 0.05**2 * torch.eye(128), atol=0.05**2 * 0.06, rtol=0)


def test_the_kinds_are_the_same_samples_with_parts_taken_out():
    setting, features, _ = simulation()
    drawn = {
        kind: theory.draw(setting, features, 50, theory.stream(3, "test"), kind)
        for kind in theory.KINDS
    }
    easy, hard, removed = drawn["easy"], drawn["hard"], drawn["common_removed"]
    for samples in drawn.values():
        assert torch.equal(samples.y, easy.y)
        assert torch.equal(samples.c, easy.c)
    assert torch.equal(hard.patches[:, :2], easy.patches[:, :2])  # the subclass patches stay
    same = (removed.patches == easy.patches).all(-1).all(0)
    assert same.tolist() == [True, True, False, False, True, True, True, True]


def test_training_batches_are_fresh_or_from_the_fixed_set():
    setting, features, _ = simulation(batch_size=16)

    def drawn(count):
        rng = theory.stream(0, "training")
        pool = sampling.training_samples(setting, features, count, rng) if count else None
        return sampling.batches(setting, features, rng, pool)

    fresh, whole, part = drawn(0), drawn(16), drawn(40)
    assert not torch.equal(next(fresh).patches, next(fresh).patches)
    assert torch.equal(next(whole).patches, next(whole).patches)
    seen = torch.cat([next(part).patches[:, 0, 0] for _ in range(30)]).view(30, 16)
    assert all(len(set(batch.tolist())) == 16 for batch in seen)  # none twice in a batch
    assert len(set(seen.flatten().tolist())) == 40  # and all of the set is used


def test_a_share_of_the_training_samples_is_hard():
    setting, features, rng = simulation(hard_share=0.25, labels="fine")
    batch = sampling.training_samples(setting, features, 400, rng)
    easy = theory.draw(setting, features, 400, theory.stream(0, "test"))
    hard = theory.draw(setting, features, 400, theory.stream(0, "test"), "hard")
    assert torch.equal(batch.patches[:100], hard.patches[:100])
    assert torch.equal(batch.patches[100:], easy.patches[100:])
    assert torch.equal(batch.targets, easy.targets(setting))


def test_uneven_subclasses_have_their_odds():
    setting, features, rng = simulation(k=4, unevenness=1.0)
    samples = theory.draw(setting, features, 16_000, rng)
    counts = torch.bincount(samples.y * 4 + samples.c, minlength=8).view(2, 4).double()
    wanted = 8000 / torch.tensor([1.0, 2, 3, 4]).double() / (1 + 1 / 2 + 1 / 3 + 1 / 4)
    assert ((counts - wanted).abs() / wanted.sqrt()).max() < 5


def test_with_more_superclasses_the_distractor_is_the_next_one_s_feature():
    setting, features, rng = simulation(**EXACT | {"superclasses": 3})
    samples = theory.draw(setting, features, 300, rng, "hard")
    coefficients, _ = parts(samples, features)
    assert features.shape == (3 + 9, 128)
    assert set(samples.y.tolist()) == {0, 1, 2}
    held = coefficients.abs() > 1e-5
    rows, other = torch.arange(300), (samples.y + 1) % 3
    assert (held[rows, :, other].sum(1) == 2).all()
    assert (held[rows, :, 3 + 3 * samples.y + samples.c].sum(1) == 2).all()
    assert (held.sum((1, 2)) == 4).all()


# --- Labels


def labels_of(kind, classes=0, count=960, **values):
    """The labels of samples, and the pairs (y, c) that they stand for."""
    setting, features, rng = simulation(labels=kind, classes=classes, **{"k": 4} | values)
    samples = theory.draw(setting, features, count, rng)
    return samples.targets(setting), samples, setting


def test_merged_labels_lie_between_coarse_and_fine():
    assert torch.equal(labels_of("merged", 2)[0], labels_of("coarse")[0])
    assert torch.equal(labels_of("merged", 8)[0], labels_of("fine")[0])
    found, samples, _ = labels_of("merged", 4)
    assert torch.equal(found, samples.y * 2 + samples.c // 2)
    found, samples, _ = labels_of("merged", 4, k=5)  # groups of three and two
    assert torch.equal(found, samples.y * 2 + (samples.c > 2).int())


def test_misaligned_labels_say_nothing_of_the_superclass():
    found, samples, setting = labels_of("misaligned", 2)
    assert torch.equal(found, samples.c // 2)
    assert setting.outputs == 2
    assert labels_of("misaligned")[2].outputs == 4
    assert not sampling.tells_superclass(setting)


@pytest.mark.parametrize(
    ("kind", "classes", "group"), [("overfine", 24, "pair"), ("random", 8, "y"), ("free", 8, "all")]
)
def test_random_parts_split_their_group_evenly_and_know_nothing_else(kind, classes, group):
    found, samples, _ = labels_of(kind, classes)
    groups = {"pair": samples.y * 4 + samples.c, "y": samples.y, "all": samples.y * 0}[group]
    parts_of = classes // (int(groups.max()) + 1)
    assert torch.equal(found // parts_of, groups)
    counts = torch.bincount(found, minlength=classes).view(-1, parts_of)
    assert (counts.amax(1) - counts.amin(1) <= 1).all()
    table = torch.zeros(classes, 4)  # within a group the parts do not depend on the subclass
    table.index_put_((found, samples.c), torch.ones(len(found)), accumulate=True)
    if group != "pair":
        expected = table.sum(1, keepdim=True) * table.sum(0) / table.sum()
        assert ((table - expected) ** 2 / expected).sum() < 60  # 21 degrees of freedom


def test_as_many_over_fine_labels_as_samples_give_each_about_its_own():
    found, _, _ = labels_of("overfine", 960)
    counts = torch.bincount(found, minlength=960)
    assert (counts <= 2).all()
    assert (counts == 1).float().mean() > 0.8


@pytest.mark.parametrize(
    ("kind", "classes"),
    [
        ("coarse", 0),
        ("fine", 0),
        ("merged", 4),
        ("misaligned", 2),
        ("overfine", 24),
        ("random", 8),
        ("free", 8),
    ],
)
def test_the_possible_labels_of_a_pair_are_those_that_occur(kind, classes):
    found, samples, setting = labels_of(kind, classes)
    occurs = torch.zeros(8, setting.outputs, dtype=torch.bool)
    occurs[samples.y * 4 + samples.c, found] = True
    assert torch.equal(sampling.possible(setting), occurs)


def test_runs_of_a_seed_share_their_samples_whatever_their_labels():
    drawn = []
    for labels in ("coarse", "fine", "random"):
        setting, features, _ = simulation(seed=4, labels=labels)
        drawn.append(
            sampling.training_samples(setting, features, 50, theory.stream(4, "training")).patches
        )
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


def test_the_run_notebook_offers_every_parameter_with_its_default():
    path = Path(__file__).parents[2] / "notebooks/theory/simulate.ipynb"
    offered = notebook.declared(path)
    expected = theory.grid()[0]
    assert offered.keys() - {"folder"} == expected.keys()
    varied = {"labels", "k", "seed", "folder"}
    assert {name: offered[name] for name in offered.keys() - varied} == {
        name: expected[name] for name in expected.keys() - varied
    }


def test_every_room_counts_in_the_fingerprint_of_a_run():
    modules = {path.stem for path in Path(theory.__file__).parent.glob("*.py")} - {"__init__"}
    behind = source.behind(["granularity.theory"])
    assert {f"granularity.theory.{module}" for module in modules} < behind.keys()
