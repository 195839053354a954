"""Networks: the heads of the recipes, and pretrained weights under a new head."""

import math

import pytest
import tiny_run as runs
import torch
from torch import nn

from granularity import network
from granularity.checkpoint import CheckpointError
from granularity.recipe import PRESETS, Recipe

RESNET = {
    "model": "resnet10t",
    "model_options": {"channels": [8, 8, 8, 8], "stem_type": "", "stem_width": 8},
}


def last_of(model):
    head = model.get_submodule(network.classifier_of(model))
    return head[-1] if isinstance(head, nn.Sequential) else head


@pytest.mark.parametrize("kind", [runs.TINY_VIT, RESNET])
@pytest.mark.parametrize("head", ["linear", "tanh"])
@pytest.mark.parametrize("head_start", ["zero", "prior"])
def test_a_new_head_says_what_the_recipe_says(kind, head, head_start):
    recipe = runs.recipe(head=head, head_start=head_start, **kind)
    model = network.build(recipe, 50, seed=0).eval()
    wanted = {"zero": 0.0, "prior": -math.log(50)}[head_start]
    logits = model(torch.rand(2, 3, 8, 8))
    assert logits.shape == (2, 50)
    assert torch.equal(logits, torch.full((2, 50), wanted))
    built = model.get_submodule(network.classifier_of(model))
    if head == "linear":
        assert type(built) is nn.Linear
    else:
        assert [type(part) for part in built] == [nn.Linear, nn.Tanh, nn.Linear]
        assert built[0].weight.shape == (model.num_features, model.num_features)
        assert built[0].weight.abs().sum() > 0  # else no gradient would ever pass


@pytest.mark.parametrize("head", ["linear", "tanh"])
def test_a_head_of_zeros_learns(head):
    recipe = runs.recipe(head=head)
    model = network.build(recipe, 5, seed=0)
    x = torch.rand(4, 3, 8, 8)
    for _ in range(2):
        nn.functional.cross_entropy(model(x), torch.arange(4)).backward()
        with torch.no_grad():
            for weight in model.parameters():
                weight -= weight.grad
    assert all(weight.grad.abs().sum() > 0 for weight in model.parameters())


def test_weights_are_a_function_of_the_seed_alone():
    one, again, other = (network.build(runs.recipe(), 5, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], value) for name, value in again.items())
    assert not torch.equal(one["blocks.0.mlp.fc1.weight"], other["blocks.0.mlp.fc1.weight"])
    before = torch.get_rng_state()
    network.build(runs.recipe(), 5, seed=3)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.fault("a network without a linear last layer", "refused by name")
def test_a_network_without_a_linear_head_is_refused_by_name():
    recipe = Recipe(model="resnetv2_18", steps=1)
    with pytest.raises(ValueError, match=r"resnetv2_18.*Conv2d"):
        network.build(recipe, 5, seed=0)


def test_the_presets_can_be_built():
    """ViT-B/16 has 86 million weights: its shapes are enough."""

    for recipe in PRESETS.values():
        with torch.device("meta"):
            model = network.build(recipe, 7, seed=0)
        assert last_of(model).weight.shape[0] == 7
        if recipe.model.startswith("vit"):
            side = recipe.image_size // 16
            assert model.pos_embed.shape == (1, side * side + 1, 768)


# ------------------------------------------------------------------------------------- transfer


@pytest.mark.parametrize("kind", [runs.TINY_VIT, RESNET])
def test_everything_but_the_head_is_taken(kind):
    given = network.build(runs.recipe(head="tanh", head_start="prior", **kind), 50, seed=1)
    with torch.no_grad():
        for value in given.state_dict().values():
            value.add_(1)
    model = network.build(runs.recipe(**kind), 7, seed=2)
    head = network.classifier_of(model)
    network.transfer(model, given.state_dict())
    for name, value in model.state_dict().items():
        if name.startswith(head):
            assert not value.any()
        else:
            assert torch.equal(value, given.state_dict()[name]), name
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 7)


def vit(image_size):
    return network.build(runs.recipe(image_size=image_size), 7, seed=image_size)


def test_position_embeddings_are_resized():
    given, model = vit(16), vit(32)  # 4 x 4 and 8 x 8 places, and one of the class token
    ramp = torch.arange(4.0).repeat(4)  # grows by one a column, the same in each row
    with torch.no_grad():
        given.pos_embed.copy_(torch.cat([torch.tensor([100.0]), ramp])[None, :, None])
    network.transfer(model, given.state_dict())
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
    network.transfer(model, given.state_dict())
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
    foreign = runs.recipe(**RESNET)
    for other, named in ((deeper, r"blocks\.2\."), (wider, "cls_token"), (foreign, "in one only")):
        weights = network.build(other, 7, seed=0).state_dict()
        with pytest.raises(CheckpointError, match=named):
            network.transfer(model, weights)
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name]), name
