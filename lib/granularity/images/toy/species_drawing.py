"""The toy iNaturalist: sixty real species in their taxonomy, and validation images that are hard.

Every taxon at or below a supercategory owns a feature, a small coloured pattern, which the species
below it inherit. The data model is the paper's (section 4.1), with a tree of subclasses where it
has one level:

- An easy image shows the common feature, its supercategory's, in `COMMON` cells, and those of the
  finer taxa in `FINER` cells each; all else is noise. Training images are easy.
- In a hard image the common feature is missing. Another supercategory's is there, weakly, and one
  cell has much stronger noise. The features of the finer taxa stay.

A share `HARD` of each species' validation images is hard, as their names say.

The numbers were chosen by hand, on two seeds, so that a network of seconds fails neither on all
images nor on none, and does better on the hard ones after species than after supercategories. So
this dataset has the paper's mechanism because it was made to, and is no evidence for it.
"""

import os
from functools import cache

import numpy as np

from granularity.images.toy.patches import (
    CELL,
    CELLS,
    background,
    finished,
    pattern,
    put,
    random_of,
)

# Kingdom, phylum, class, order, family: species. All are among iNaturalist 2021's 10,000 (chosen
# by us, so that the ranks from class to species differ in their numbers of classes).
SUPERCATEGORIES = {
    "Plants": """
        Plantae Tracheophyta Liliopsida Asparagales Orchidaceae: Cypripedium acaule
        Plantae Tracheophyta Liliopsida Asparagales Orchidaceae: Cypripedium reginae
        Plantae Tracheophyta Liliopsida Poales Poaceae: Avena fatua
        Plantae Tracheophyta Magnoliopsida Fabales Fabaceae: Trifolium pratense, Trifolium repens
        Plantae Tracheophyta Magnoliopsida Rosales Rosaceae: Fragaria vesca, Rosa canina
        Plantae Tracheophyta Pinopsida Pinales Pinaceae: Picea abies, Pinus strobus
        Plantae Tracheophyta Pinopsida Pinales Pinaceae: Pinus sylvestris
    """,
    "Insects": """
        Animalia Arthropoda Insecta Coleoptera Coccinellidae: Coccinella septempunctata
        Animalia Arthropoda Insecta Hymenoptera Apidae: Apis mellifera
        Animalia Arthropoda Insecta Lepidoptera Nymphalidae: Polygonia c-album, Vanessa atalanta
        Animalia Arthropoda Insecta Lepidoptera Nymphalidae: Vanessa cardui
        Animalia Arthropoda Insecta Lepidoptera Papilionidae: Papilio glaucus, Papilio machaon
        Animalia Arthropoda Insecta Odonata Coenagrionidae: Ischnura elegans
        Animalia Arthropoda Insecta Odonata Libellulidae: Libellula luctuosa, Libellula pulchella
    """,
    "Birds": """
        Animalia Chordata Aves Anseriformes Anatidae: Aix sponsa, Anas acuta, Anas platyrhynchos
        Animalia Chordata Aves Passeriformes Corvidae: Corvus corax, Corvus corone, Pica pica
        Animalia Chordata Aves Passeriformes Paridae: Parus major
        Animalia Chordata Aves Pelecaniformes Ardeidae: Ardea herodias
    """,
    "Mammals": """
        Animalia Chordata Mammalia Artiodactyla Cervidae: Alces alces
        Animalia Chordata Mammalia Carnivora Canidae: Canis latrans, Canis lupus, Vulpes vulpes
        Animalia Chordata Mammalia Carnivora Felidae: Lynx rufus, Panthera leo
        Animalia Chordata Mammalia Rodentia Sciuridae: Sciurus carolinensis, Sciurus niger
    """,
    "Reptiles": """
        Animalia Chordata Reptilia Crocodylia Crocodylidae: Crocodylus niloticus
        Animalia Chordata Reptilia Squamata Colubridae: Thamnophis elegans, Thamnophis sirtalis
        Animalia Chordata Reptilia Squamata Viperidae: Crotalus atrox
        Animalia Chordata Reptilia Testudines Emydidae: Chrysemys picta, Trachemys scripta
    """,
    "Amphibians": """
        Animalia Chordata Amphibia Anura Bufonidae: Bufo bufo
        Animalia Chordata Amphibia Anura Ranidae: Lithobates catesbeianus, Lithobates clamitans
        Animalia Chordata Amphibia Caudata Ambystomatidae: Ambystoma maculatum
        Animalia Chordata Amphibia Caudata Salamandridae: Salamandra salamandra, Taricha torosa
    """,
    "Ray-finned Fishes": """
        Animalia Chordata Actinopterygii Perciformes Centrarchidae: Lepomis gibbosus
        Animalia Chordata Actinopterygii Perciformes Centrarchidae: Lepomis macrochirus
        Animalia Chordata Actinopterygii Perciformes Centrarchidae: Micropterus salmoides
        Animalia Chordata Actinopterygii Perciformes Pomacentridae: Abudefduf saxatilis
        Animalia Chordata Actinopterygii Salmoniformes Salmonidae: Oncorhynchus mykiss, Salmo trutta
    """,
    "Mollusks": """
        Animalia Mollusca Bivalvia Mytilida Mytilidae: Mytilus edulis
        Animalia Mollusca Cephalopoda Octopoda Octopodidae: Octopus vulgaris
        Animalia Mollusca Gastropoda Neogastropoda Muricidae: Nucella lapillus
        Animalia Mollusca Gastropoda Stylommatophora Helicidae: Cepaea hortensis, Cepaea nemoralis
        Animalia Mollusca Gastropoda Stylommatophora Helicidae: Helix pomatia
    """,
}


def _paths() -> dict[str, tuple[str, ...]]:
    """Folder name → supercategory and the seven names from kingdom to epithet; in order."""
    found = {}
    for supercategory, table in SUPERCATEGORIES.items():
        for line in table.strip().splitlines():
            above, _, species = line.strip().partition(": ")
            for names in species.split(", "):
                found[*above.split(), *names.split()] = supercategory
    return {
        "_".join([f"{number:05d}", *names]): (found[names], *names)
        for number, names in enumerate(sorted(found))
    }


PATHS = _paths()
SPECIES = tuple(PATHS)  # the folders' names, numbered without gaps, as torchvision wants them
TRAIN, MINI, VALID = 20, 14, 10  # images of a species; the mini set's are among the training set's
HARD = (3, 10)  # of so many validation images of a species so many are hard
PARTS = (
    ("inaturalist/2021_train", SPECIES, 0, TRAIN),
    ("inaturalist/2021_train_mini", SPECIES, 0, MINI),
    ("inaturalist/2021_valid", SPECIES, TRAIN, VALID),
)

NOISE = 32.0  # standard deviation of the background, of 255
STRONG = 96.0  # that of the noise which a hard image has in one cell beside
COMMON = 2  # cells of the common feature
FINER = 2  # cells of each feature below it
SPREAD = 0.1  # a feature's strength is uniform in 1 - SPREAD … 1 + SPREAD
WEAK = 0.2  # strength of the other supercategory's feature in a hard image


def is_hard(number: int) -> bool:
    """Whether image `number` of a species is hard: some of the validation images are."""
    some, of = HARD
    place = number - TRAIN
    return place >= 0 and (place + 1) * some // of > place * some // of


def file_name(number: int) -> str:
    """The name of the file of image `number` of a species."""
    return f"{number:05d}_{'hard' if is_hard(number) else 'easy'}.jpg"


def hard(name: str | bytes) -> bool:
    """Whether an image of the toy iNaturalist is hard, from its file's name or path.

    Raises ValueError for the name of any other file.
    """
    kind = os.fsdecode(name).removesuffix(".jpg").rpartition("_")[2]
    if kind not in ("easy", "hard"):
        raise ValueError(f"{os.fsdecode(name)} names no image of the toy iNaturalist")
    return kind == "hard"


@cache
def taxa(species: str) -> tuple[str, ...]:
    """The taxa that a species has features of: its supercategory, and all that lies below that.

    Each by its full path, since names are used twice across kingdoms.
    """
    supercategory, *names = PATHS[species]
    members = [path[1:] for path in PATHS.values() if path[0] == supercategory]
    shared = next(rank for rank in range(7) if len({path[rank] for path in members}) > 1)
    return (supercategory, *("/".join(names[: rank + 1]) for rank in range(shared, 7)))


@cache
def feature(taxon: str, seed: int) -> np.ndarray:
    """A taxon's pattern: float (CELL, CELL, 3), to be added to a grey background."""
    return pattern(random_of(seed, "inaturalist", taxon))


def shown(species: str, number: int, seed: int) -> list[tuple[str, int, float]]:
    """What an image shows: (taxon, cell, strength) of each feature; no two share a cell."""
    random = _random(seed, species, number)
    common, *finer = taxa(species)
    places = [common] * COMMON + finer * FINER
    strengths = 1 + SPREAD * random.uniform(-1, 1, len(places))
    present = list(zip(places, strengths.tolist(), strict=True))
    if is_hard(number):
        others = [name for name in SUPERCATEGORIES if name != common]
        present = [*present[COMMON:], (str(random.choice(others)), WEAK)]
    cells = random.permutation(CELLS**2).tolist()
    return [
        (taxon, cell, strength) for (taxon, strength), cell in zip(present, cells, strict=False)
    ]


def image(species: str, number: int, seed: int) -> np.ndarray:
    """The pixels of an image: uint8 of shape (SIDE, SIDE, 3)."""
    random = _random(seed, species, number, "noise")
    pixels = background(random, NOISE)
    there = shown(species, number, seed)
    for taxon, cell, strength in there:
        put(pixels, cell, strength * feature(taxon, seed))
    if is_hard(number):
        free = np.setdiff1d(np.arange(CELLS**2), [cell for _, cell, _ in there])
        put(pixels, random.choice(free), random.normal(0, STRONG, (CELL, CELL, 3)))
    return finished(pixels)


def _random(seed: int, species: str, *more: str | int) -> np.random.Generator:
    """A generator for an image; the species by its number, since long names take longer."""
    return random_of(seed, "inaturalist", int(species[:5]), *more)
