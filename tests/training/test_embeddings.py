"""Embeddings: as a direct loop gives them, whatever kills or fills; and where weights come from."""

import json
import os
import resource
import signal

import huggingface_hub.constants
import numpy as np
import pytest
import timm
import tiny_run as runs
import torch
from faults_seen import saw
from safetensors.torch import save_file
from torchvision import transforms

from granularity.images.toy import drawing, species_drawing
from granularity.training import embeddings, loading, networks
from granularity.training.embeddings import WeightsError
from granularity.training.presets import preset

COUNT = 61


def tiny(seed=0):
    return networks.build(runs.recipe(), runs.CLASSES, seed)


def shown(count=COUNT):
    return runs.memory(runs.recipe(), count)


def direct(model, images):
    """Every image alone, in a loop of its own."""
    model.eval()
    with torch.no_grad():
        x = loading.normalised(images.pixels)
        found = [
            model.forward_head(model.forward_features(one[None]), pre_logits=True) for one in x
        ]
    return torch.cat(found).numpy()


class Killing:
    """Images that stop being read, one way or another, after some pieces."""

    def __init__(self, images, pieces, stop):
        self.images, self.pieces, self.stop = images, pieces, stop

    def __len__(self):
        return len(self.images)

    def batches(self, plan, train, device):
        for number, batch in enumerate(self.images.batches(plan, train, device)):
            if number == self.pieces:
                self.stop()
            yield batch


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def unread():
    raise AssertionError("an image was read")


def until_killed(folder, key, batch_size, pieces):
    """What a process of its own does until it is killed before some piece; all is saved at once."""
    embeddings.SAVED_EVERY = 0.0
    embeddings.features(
        tiny(), Killing(shown(), pieces, die), key=key, folder=folder, batch_size=batch_size
    )


def killed(*arguments):
    process = runs.processes.Process(target=until_killed, args=arguments, daemon=True)
    process.start()
    assert runs.ended([process]) == [-9]


# ------------------------------------------------------------------------------- the array


@pytest.mark.parametrize("batch_size", [1, 7, 61, 256])
def test_features_are_those_of_a_direct_loop_in_order(tmp_path, batch_size):
    images = shown()
    found = embeddings.features(tiny(), images, key="a", folder=tmp_path, batch_size=batch_size)
    assert found.dtype == np.float16 and found.shape == (COUNT, 16)
    np.testing.assert_allclose(found, direct(tiny(), images), rtol=2e-3, atol=2e-3)
    assert len(np.unique(found, axis=0)) == COUNT
    assert sorted(path.name for path in tmp_path.iterdir()) == [embeddings.NOTE, embeddings.ARRAY]


def test_the_array_is_mapped_and_read_only(tmp_path):
    found = embeddings.features(tiny(), shown(), key="a", folder=tmp_path)
    assert isinstance(found, np.memmap) and not found.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 0


def test_chosen_images_come_in_the_order_of_their_rows(tmp_path):
    images = shown()
    rows = np.random.default_rng(0).permutation(COUNT)[:20]
    some = loading.Memory(images.pixels, images.leaf, images.recipe, rows)
    found = embeddings.features(tiny(), some, key="some", folder=tmp_path / "some", batch_size=6)
    whole = embeddings.features(tiny(), images, key="all", folder=tmp_path / "all", batch_size=6)
    np.testing.assert_allclose(found, whole[rows], rtol=2e-3, atol=2e-3)


def test_images_in_files_give_what_images_in_memory_give(tmp_path):
    """Through the other loader too, in the order of the files."""
    recipe = preset("resnet_toy", image_size=drawing.SIDE)

    class Drawn:
        leaf = np.arange(9)

        def __len__(self):
            return 9

        def read(self, i):
            species = species_drawing.SPECIES[i]
            return transforms.ToPILImage()(species_drawing.image(species, 0, 0))

    pixels = torch.stack([transforms.PILToTensor()(Drawn().read(i)) for i in range(9)])
    model = networks.build(recipe, 3, 0)
    memory = loading.Memory(pixels, torch.arange(9), recipe)
    one = embeddings.features(model, memory, key="a", folder=tmp_path / "memory", batch_size=4)
    other = embeddings.features(
        model, loading.Files(Drawn(), recipe), key="a", folder=tmp_path / "files", batch_size=4
    )
    assert np.array_equal(one, other)


def test_a_network_in_training_is_evaluated(tmp_path):
    model = networks.build(preset("resnet_toy", image_size=8), 3, 0).train()
    images = shown(20)
    found = embeddings.features(model, images, key="a", folder=tmp_path, batch_size=3)
    np.testing.assert_allclose(found, direct(model, images), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224", "convnext_atto"])
def test_any_timm_network_serves(tmp_path, name):
    images = runs.memory(runs.recipe(image_size=224, batch_size=4), 3)
    model = timm.create_model(name, num_classes=0).eval()
    found = embeddings.features(model, images, key="a", folder=tmp_path)
    assert found.shape == (3, model.num_features)
    np.testing.assert_allclose(found, direct(model, images), rtol=5e-3, atol=5e-3)


# ------------------------------------------------------------------------- killed, changed, full


def test_what_is_there_is_found_without_looking_at_an_image(tmp_path):
    first = np.array(embeddings.features(tiny(), shown(), key="a", folder=tmp_path))
    again = embeddings.features(
        tiny(), Killing(shown(), 0, unread), key="a", folder=tmp_path, batch_size=5
    )
    assert np.array_equal(first, again)


@pytest.mark.fault(
    "the making of an embedding array killed four times",
    "each call goes on; the array is the same, to the bit",
)
def test_killed_again_and_again_it_ends_as_one_that_ran_through(tmp_path):
    for pieces in (0, 1, 3, 2):  # of 9, in turn
        killed(tmp_path / "killed", "a", 7, pieces)
    note = json.loads((tmp_path / "killed" / embeddings.NOTE).read_text())
    assert note["finished"] == 6 * 7
    rest = Killing(shown(), 3, unread)  # of 9 pieces 3 are left
    found = embeddings.features(tiny(), rest, key="a", folder=tmp_path / "killed", batch_size=7)
    through = embeddings.features(
        tiny(), shown(), key="a", folder=tmp_path / "through", batch_size=7
    )
    assert np.array_equal(found, through)
    files = {(tmp_path / name / embeddings.ARRAY).read_bytes() for name in ("killed", "through")}
    assert len(files) == 1
    saw(f"{note['finished']} rows were there after the fourth kill; the files are the same")


@pytest.mark.fault("killed before any row was noted as saved", "the rows are made again")
def test_rows_that_were_not_saved_are_made_again(tmp_path, monkeypatch):
    """A count stands for rows on the disk: those written after it count for nothing."""
    monkeypatch.setattr(embeddings, "SAVED_EVERY", float("inf"))
    with pytest.raises(AssertionError, match="was read"):
        embeddings.features(
            tiny(), Killing(shown(), 4, unread), key="a", folder=tmp_path, batch_size=7
        )
    assert not (tmp_path / embeddings.NOTE).exists()
    found = embeddings.features(tiny(), shown(), key="a", folder=tmp_path, batch_size=7)
    np.testing.assert_allclose(found, direct(tiny(), shown()), rtol=2e-3, atol=2e-3)


@pytest.mark.fault("half an embedding array of other {changed}", "made afresh")
@pytest.mark.parametrize("changed", ["images", "weights", "layers", "count"])
def test_what_is_of_another_make_is_made_afresh(tmp_path, changed):
    killed(tmp_path, "a", 7, 5)
    before = (tmp_path / embeddings.ARRAY).read_bytes()
    model, images, key = tiny(), shown(), "a"
    if changed == "images":
        images, key = runs.memory(runs.recipe(), COUNT, seed=1), "b"
    if changed == "weights":
        model = tiny(seed=1)
    if changed == "layers":
        model.norm = torch.nn.Identity()
    if changed == "count":
        images = shown(COUNT - 1)
    found = embeddings.features(model, images, key=key, folder=tmp_path, batch_size=7)
    np.testing.assert_allclose(found, direct(model, images), rtol=2e-3, atol=2e-3)
    assert (tmp_path / embeddings.ARRAY).read_bytes() != before


@pytest.mark.fault("an embedding array of changed code", "made afresh")
def test_changed_code_makes_afresh(tmp_path, monkeypatch):
    embeddings.features(tiny(), shown(), key="a", folder=tmp_path)
    monkeypatch.setattr(embeddings.source, "fingerprint", lambda *modules: f"another {modules}")
    with pytest.raises(AssertionError, match="was read"):
        embeddings.features(tiny(), Killing(shown(), 0, unread), key="a", folder=tmp_path)


@pytest.mark.fault(
    "disk full as an embedding array begins",
    "an error before any image is looked at; the earlier array is intact",
)
def test_a_full_disk_is_told_before_any_work_is_kept_and_leaves_the_earlier_array(tmp_path):
    def contents():
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    small = embeddings.features(tiny(), shown(20), key="small", folder=tmp_path)
    before = contents()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            embeddings.features(
                tiny(), Killing(shown(), 1, unread), key="a", folder=tmp_path, batch_size=7
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert contents() == before
    again = embeddings.features(tiny(), Killing(shown(20), 0, unread), key="small", folder=tmp_path)
    assert np.array_equal(small, again)


@pytest.mark.fault("stopped between an array and its note", "the rows are made, not taken for done")
def test_the_note_of_an_earlier_array_never_vouches_for_a_new_one(tmp_path, monkeypatch):
    """Stopped between the two, there is no note; so the rows of zeros are made, not returned."""
    embeddings.features(tiny(), shown(), key="a", folder=tmp_path)
    rename = type(tmp_path).replace

    def stopped(part, path):
        rename(part, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(type(tmp_path), "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        embeddings.features(tiny(seed=1), shown(), key="a", folder=tmp_path)
    monkeypatch.undo()
    assert not np.load(tmp_path / embeddings.ARRAY).any()
    found = embeddings.features(tiny(), shown(), key="a", folder=tmp_path)
    np.testing.assert_allclose(found, direct(tiny(), shown()), rtol=2e-3, atol=2e-3)


@pytest.mark.fault("an image with the feature {value}", "stops; names the image")
@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_a_feature_that_cannot_be_kept_is_named(tmp_path, value):
    class Odd(torch.nn.Module):
        def forward_features(self, x):
            return x

        def forward_head(self, x, pre_logits):
            found = x.mean((2, 3))
            found[x.amax((1, 2, 3)) > 0.5] = value
            return found

    images = loading.Memory(
        torch.zeros(10, 3, 8, 8, dtype=torch.uint8), torch.zeros(10), runs.recipe()
    )
    images.pixels[7] = 255
    with pytest.raises(FloatingPointError, match="image 7 has"):
        embeddings.features(Odd(), images, key="a", folder=tmp_path, batch_size=4)


def test_no_images_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="no images"):
        embeddings.features(tiny(), shown(0), key="a", folder=tmp_path)


# --------------------------------------------------------------------------------- fingerprints


def test_a_fingerprint_is_of_weights_and_layers():
    assert embeddings.fingerprint_of(tiny()) == embeddings.fingerprint_of(tiny())
    others = [tiny(seed=1), tiny().bfloat16(), networks.build(runs.recipe(), 5, 0)]
    other = tiny()
    other.blocks[0].mlp.act = torch.nn.ReLU()  # which has no weights
    changed = tiny()
    with torch.no_grad():
        changed.norm.bias[3] = 1e-7
    found = {embeddings.fingerprint_of(model) for model in (tiny(), other, changed, *others)}
    assert len(found) == 6
    moved = tiny().to(memory_format=torch.channels_last).train()
    assert embeddings.fingerprint_of(moved) == embeddings.fingerprint_of(tiny())


# -------------------------------------------------------------------------- pretrained weights


def test_weights_come_from_a_local_file_and_images_are_shown_as_they_want(tmp_path):
    torch.manual_seed(3)
    model = timm.create_model("resnet10t").eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    found = embeddings.pretrained("resnet10t", weights=tmp_path / "model.safetensors")
    assert embeddings.size_of(found) == 176
    images = runs.memory(runs.recipe(image_size=64, batch_size=4), 5)
    mean, std = (model.pretrained_cfg[name] for name in ("mean", "std"))
    x = transforms.Normalize(mean, std)(images.pixels / 255)
    with torch.no_grad():
        wanted = model.forward_head(model.forward_features(x), pre_logits=True).numpy()
    features = embeddings.features(found, images, key="a", folder=tmp_path / "features")
    assert features.shape == (5, 512)
    np.testing.assert_allclose(features, wanted, rtol=5e-3, atol=5e-3)


@pytest.mark.fault(
    "a file of weights that is missing, of another kind, incomplete or truncated", "refused by name"
)
def test_a_file_that_does_not_serve_is_named(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors, the weights of resnet10t"):
        embeddings.pretrained("resnet10t", weights=path)
    (tmp_path / "model.bin").touch()
    with pytest.raises(ValueError, match=r"model\.bin: weights are read from \.safetensors"):
        embeddings.pretrained("resnet10t", weights=tmp_path / "model.bin")
    tensors = timm.create_model("resnet10t").state_dict()
    save_file({name: value for name, value in tensors.items() if "layer3" not in name}, path)
    with pytest.raises(WeightsError, match=r"model\.safetensors holds no weights of resnet10t"):
        embeddings.pretrained("resnet10t", weights=path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"model\.safetensors holds no weights of resnet10t"):
        embeddings.pretrained("resnet10t", weights=path)


@pytest.mark.fault("the unknown network {name}", "refused, with the nearest name")
@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("resnet10u", "resnet10t"),
        ("vit_large_patch14_clip_224.openal", "vit_large_patch14_clip_224.openai"),
        ("resnet10t.c4_in1k", r"resnet10t\.c3_in1k"),
        ("resnet200", "resnet200d"),  # timm has it, and no weights
    ],
)
def test_an_unknown_network_has_a_nearest_one(name, nearest):
    with pytest.raises(KeyError, match=f"{name}'; the nearest one is '{nearest}"):
        embeddings.pretrained(name)


@pytest.mark.fault(
    "weights ({name}) wanted on a machine without a network", "an error that says where to get them"
)
@pytest.mark.parametrize("name", ["resnet10t", "resnet10t.c3_in1k"])
def test_without_a_network_it_says_where_weights_come_from(tmp_path, monkeypatch, name):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    told = rf"{name} cannot be fetched .*huggingface\.co/timm/resnet10t\.c3_in1k.*as `weights`"
    with pytest.raises(WeightsError, match=told):
        embeddings.pretrained(name)
