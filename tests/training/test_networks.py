"""Networks: the heads of the recipes, and pretrained weights under a new head."""

import math
from dataclasses import replace

import pytest
import timm
import tiny_run as runs
import torch
from torch import nn

from granularity.training import networks
from granularity.training.checkpoints import CheckpointError
from granularity.training.presets import PRESETS
from granularity.training.recipe import Recipe


def last_of(model):
    head = model.get_submodule(networks.classifiers_of(model)[0])
    return head[-1] if isinstance(head, nn.Sequential) else head


@pytest.mark.parametrize("kind", [runs.TINY_VIT, runs.RESNET])
@pytest.mark.parametrize("head", ["linear", "tanh"])
@pytest.mark.parametrize("head_init", ["zero", "prior"])
def test_a_new_head_says_what_the_recipe_says(kind, head, head_init):
    recipe = runs.recipe(head=head, head_init=head_init, **kind)
    model = networks.build(recipe, 50, seed=0).eval()
    wanted = {"zero": 0.0, "prior": -math.log(50)}[head_init]
    logits = model(torch.rand(2, 3, 8, 8))
    assert logits.shape == (2, 50)
    assert torch.equal(logits, torch.full((2, 50), wanted))
    built = model.get_submodule(networks.classifiers_of(model)[0])
    if head == "linear":
        assert type(built) is nn.Linear
    else:
        assert [type(part) for part in built] == [nn.Linear, nn.Tanh, nn.Linear]
        assert built[0].weight.shape == (model.num_features, model.num_features)
        assert built[0].weight.abs().sum() > 0  # else no gradient would ever pass


@pytest.mark.parametrize("head", ["linear", "tanh"])
def test_a_head_of_zeros_learns(head):
    recipe = runs.recipe(head=head)
    model = networks.build(recipe, 5, seed=0)
    x = torch.rand(4, 3, 8, 8)
    for _ in range(2):
        nn.functional.cross_entropy(model(x), torch.arange(4)).backward()
        with torch.no_grad():
            for weight in model.parameters():
                weight -= weight.grad
    assert all(weight.grad.abs().sum() > 0 for weight in model.parameters())


def test_weights_are_a_function_of_the_seed_alone():
    one, again, other = (networks.build(runs.recipe(), 5, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], value) for name, value in again.items())
    assert not torch.equal(one["blocks.0.mlp.fc1.weight"], other["blocks.0.mlp.fc1.weight"])
    before = torch.get_rng_state()
    networks.build(runs.recipe(), 5, seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_presets_can_be_built():
    """ViT-B/16 has 86 million weights: its shapes are enough."""

    for recipe in PRESETS.values():
        with torch.device("meta"):
            model = networks.build(recipe, 7, seed=0)
        assert last_of(model).weight.shape[0] == 7
        if recipe.model.startswith("vit"):
            side = recipe.image_size // 16
            assert model.pos_embed.shape == (1, side * side + 1, 768)


# ------------------------------------------------------------------------------------- transfer


@pytest.mark.parametrize("kind", [runs.TINY_VIT, runs.RESNET])
def test_everything_but_the_head_is_taken(kind):
    given = networks.build(runs.recipe(head="tanh", head_init="prior", **kind), 50, seed=1)
    with torch.no_grad():
        for value in given.state_dict().values():
            value.add_(1)
    model = networks.build(runs.recipe(**kind), 7, seed=2)
    head = networks.classifiers_of(model)[0]
    networks.transfer(model, given.state_dict())
    for name, value in model.state_dict().items():
        if name.startswith(head):
            assert not value.any()
        else:
            assert torch.equal(value, given.state_dict()[name]), name
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 7)


def vit(image_size):
    return networks.build(runs.recipe(image_size=image_size), 7, seed=image_size)


def test_position_embeddings_are_resized():
    given, model = vit(16), vit(32)  # 4 x 4 and 8 x 8 places, and one of the class token
    ramp = torch.arange(4.0).repeat(4)  # grows by one a column, the same in each row
    with torch.no_grad():
        given.pos_embed.copy_(torch.cat([torch.tensor([100.0]), ramp])[None, :, None])
    networks.transfer(model, given.state_dict())
    assert model.pos_embed.shape == (1, 65, 16)
    assert torch.equal(model.pos_embed[:, 0], torch.full((1, 16), 100.0))
    grid = model.pos_embed[0, 1:].reshape(8, 8, 16)
    # Twice the places: the centres lie at -1/4, 1/4, 3/4, … of the old ones. Cubic interpolation
    # keeps a ramp as it is where all four neighbours are there.
    wanted = (torch.arange(8) + 0.5) / 2 - 0.5
    inner = grid[:, 3:5]
    torch.testing.assert_close(inner, wanted[3:5, None].expand(8, 2, 16), rtol=1e-4, atol=1e-4)
    assert (grid.diff(dim=1) > 0).all()
    torch.testing.assert_close(grid.diff(dim=0), torch.zeros(7, 8, 16), rtol=0, atol=1e-5)
    assert model(torch.rand(1, 3, 32, 32)).shape == (1, 7)


def test_position_embeddings_of_the_same_size_are_taken_to_the_bit():
    given, model = vit(16), vit(16)
    with torch.no_grad():
        given.pos_embed.normal_()
    networks.transfer(model, given.state_dict())
    assert torch.equal(model.pos_embed, given.pos_embed)


@pytest.mark.fault(
    "pretrained weights of another network", "refused by a tensor's name; no weight is changed"
)
def test_another_network_is_refused_by_a_tensors_name_and_nothing_is_taken():
    model = vit(8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    options = runs.TINY_VIT["model_options"]
    deeper = runs.recipe(model_options=options | {"depth": 3})
    wider = runs.recipe(model_options=options | {"embed_dim": 32})
    foreign = runs.recipe(**runs.RESNET)
    for other, named in ((deeper, r"blocks\.2\."), (wider, "cls_token"), (foreign, "in one only")):
        weights = networks.build(other, 7, seed=0).state_dict()
        with pytest.raises(CheckpointError, match=named):
            networks.transfer(model, weights)
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name]), name


# ------------------------------------------------------------------------------ any of timm's

BEIT = {"embed_dim": 32, "depth": 2, "num_heads": 2}
NETWORKS = {  # an odd head, a size of its own, a table of positions, or batch norm in each
    "resnet18": {},
    "resnetv2_50x1_bit": {},
    "vit_tiny_patch16_224": {},
    "deit_tiny_patch16_224": {},
    "deit_tiny_distilled_patch16_224": {},
    "deit3_small_patch16_224": {"embed_dim": 48, "depth": 2, "num_heads": 2},
    "swin_tiny_patch4_window7_224": {"embed_dim": 24, "depths": [1, 1, 1, 1]},
    "beit_base_patch16_224": BEIT,
    "eva02_tiny_patch14_224": {"depth": 2},
    "mixer_s32_224": {},
    "efficientvit_b0": {},
    "efficientvit_m0": {},
    "convnext_atto": {},
    "mobilenetv3_small_050": {},
    "regnety_002": {},
    "levit_128s": {},
    "dla34": {},
    "nfnet_l0": {},
}


@pytest.mark.fault(
    "{model}, which the name of no other network resembles, at 64 and at 96 pixels",
    "trained with either head: its answers start at the bias, and then change",
)
@pytest.mark.parametrize("model", NETWORKS)
def test_any_network_of_timms_can_be_trained_at_other_sizes(model):
    for side, head in ((64, "linear"), (96, "tanh")):
        options = NETWORKS[model]
        recipe = Recipe(
            model=model,
            model_options=options,
            image_size=side,
            head=head,
            head_init="prior",
            steps=1,
        )
        networks.check(recipe)
        made = networks.build(recipe, 5, seed=0).train()
        x = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
        logits = made(x)
        torch.testing.assert_close(logits, torch.full((2, 5), -math.log(5)))
        optimiser = torch.optim.SGD(made.parameters(), 0.1)
        for _ in range(2):
            nn.functional.cross_entropy(made(x), torch.tensor([0, 1])).backward()
            optimiser.step()
        assert not torch.equal(made(x), logits)
        for name in networks.classifiers_of(made):
            assert all(p.grad is not None for p in made.get_submodule(name).parameters())


@pytest.mark.parametrize("model", ["resnet18", "vit_tiny_patch16_224", "vit_base_patch16_224"])
def test_a_networks_first_weights_are_timms_own(model):
    """But for the head they are what timm draws from the seed for one class and this size."""
    options = {"img_size": 32} if model.startswith("vit") else {}
    options |= BEIT if "base" in model else {}
    with torch.random.fork_rng():
        torch.manual_seed(7)
        wanted = timm.create_model(model, num_classes=1, **options).state_dict()
    options.pop("img_size", None)
    found = networks.build(Recipe(model=model, model_options=options, image_size=32, steps=1), 4, 7)
    head = networks.classifiers_of(found)[0]
    for name, value in found.state_dict().items():
        assert name.startswith(head) or torch.equal(value, wanted[name]), name


REFUSED = {
    "a size the network cannot take": ({"model": "inception_v3", "image_size": 64}, "at 64 pixels"),
    "a network for images of one size alone": ({"model": "crossvit_tiny_240"}, "at 32 pixels"),
    "a patch larger than the image": (
        {"model": "vit_tiny_patch16_224", "image_size": 8},
        "vit_tiny_patch16_224 does not work at 8 pixels",
    ),
    "an option that the network lacks": (
        {"model": "resnet18", "model_options": {"chanels": 3}},
        "resnet18 does not work .*chanels",
    ),
    "two answers in training": (
        {"model": "volo_d1_224", "image_size": 224, "model_options": {"mix_token": True}},
        "volo_d1_224 does not work",
    ),
    "a network that timm lacks": ({"model": "resnet81"}, "nearest one is 'resnet"),
    "a tag of pretrained weights": (
        {"model": "vit_tiny_patch16_224.augreg_in21k"},
        "names pretrained weights.* take 'vit_tiny_patch16_224'",
    ),
    "a tag of weights that do not exist": ({"model": "resnet18.mine"}, "names pretrained weights"),
    "weights of the hub": ({"model": "hf-hub:timm/resnet18.a1_in1k"}, "names pretrained weights"),
    "a folder of weights": ({"model": "local-dir:/data/net"}, "names pretrained weights"),
    "a name that stands for weights": (
        {"model": "vit_tiny_patch16_224_in21k"},
        "timm has no network",
    ),
    "a checkpoint": (
        {"model_options": {"checkpoint_path": "x"}},
        "'checkpoint_path', 'x': a",
    ),
    "pretrained weights": ({"model_options": {"pretrained": True}}, "'pretrained', True: a"),
    "other weights": ({"model_options": {"pretrained_cfg": {"file": "x"}}}, "'pretrained_cfg'"),
    "weights over": (
        {"model_options": {"pretrained_cfg_overlay": {"file": "x"}}},
        "'pretrained",
    ),
    "a file under any name": ({"model_options": {"init": "net.safetensors"}}, "'init', 'net.safe"),
    "a path in a list": ({"model_options": {"init": [["a/b"]]}}, "'init'"),
    "the size twice": ({"model_options": {"img_size": 64}}, "it is the recipe's image_size"),
    "the classes twice": ({"model_options": {"num_classes": 7}}, "the labels say how many"),
    "no number": ({"model_options": {"drop_path_rate": math.nan}}, "no finite number"),
}


@pytest.mark.fault("{what} as a network", "refused by name, before any work")
@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_trained_is_refused_by_name(what):
    values, told = REFUSED[what]
    recipe = Recipe(**({"model": "resnet18", "image_size": 32, "steps": 1} | values))
    with pytest.raises((ValueError, KeyError), match=told):
        networks.check(recipe)


def moved(model, sizes, options):
    """A network with weights that all differ, and another for images of another size."""
    small, large = (
        networks.build(
            Recipe(model=model, model_options=options, image_size=side, steps=1), 3, side
        )
        for side in sizes
    )
    return small, large


RESIZED = ["deit3_small_patch16_224", "deit_tiny_distilled_patch16_224", "beit_base_patch16_224"]
RESIZED += ["eva02_tiny_patch14_224", "swin_tiny_patch4_window7_224", "vit_tiny_patch16_224"]


@pytest.mark.fault(
    "finetuning of {model} at another image size", "all weights are taken; positions are resized"
)
@pytest.mark.parametrize("model", RESIZED)
def test_weights_are_taken_to_another_image_size(model):
    small, large = moved(model, (56, 112), NETWORKS[model])
    of_size = Recipe(model=model, model_options=NETWORKS[model], image_size=56, steps=1)
    networks.check_both(of_size, replace(of_size, image_size=112))  # known before any work
    given = small.state_dict()
    networks.transfer(large, given)
    heads = networks.classifiers_of(large)
    for name, value in large.state_dict().items():
        if name.startswith(heads):
            continue
        if value.shape == given[name].shape:
            assert torch.equal(value, given[name]), name
        else:
            assert "pos" in name
            assert value.std() == pytest.approx(given[name].std(), rel=0.5)
    assert large(torch.rand(1, 3, 112, 112)).shape == (1, 3)


def test_positions_without_a_class_token_are_resized_whole():
    """DeiT III has a class token, and no position of it."""
    small, large = moved("deit3_small_patch16_224", (64, 128), NETWORKS["deit3_small_patch16_224"])
    ramp = torch.arange(4.0).repeat(4)
    with torch.no_grad():
        small.pos_embed.copy_(ramp[None, :, None].expand_as(small.pos_embed))
    networks.transfer(large, small.state_dict())
    grid = large.pos_embed[0, :, 0].reshape(8, 8)
    torch.testing.assert_close(grid, grid[:1].expand(8, 8))
    assert (grid.diff(dim=1) > 0).all()


@pytest.mark.fault(
    "finetuning of mixer_s32_224, whose weights belong to places, at another image size",
    "refused by a tensor's name, before any work",
)
def test_weights_of_places_are_not_taken_to_another_size():
    small, large = (Recipe(model="mixer_s32_224", image_size=side, steps=1) for side in (64, 96))
    networks.check_both(small, replace(small, head="tanh"))
    with pytest.raises(CheckpointError, match=r"blocks\.0\.mlp_tokens"):
        networks.check_both(small, large)
