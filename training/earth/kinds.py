"""The kinds of ground that the model is taught by name, and what each chip from outside of EuroSAT shows."""

from __future__ import annotations

from typing import Literal

KIND_OF_CLASS = {
    "AnnualCrop": "annual crops",
    "Forest": "forest",
    "HerbaceousVegetation": "herbaceous vegetation",
    "Highway": "highway",
    "Industrial": "industrial area",
    "Pasture": "pasture",
    "PermanentCrop": "permanent crops",
    "Residential": "residential area",
    "River": "river",
    "SeaLake": "sea or lake",
}
WORLD_KINDS = (
    "sand dunes",
    "rocky desert",
    "red outback",
    "ice sheet",
    "snow and winter forest",
    "polar barrens",
    "dry woodland",
    "boreal wetland",
    "heath and scrub",
    "clouds",
)
KINDS = (*KIND_OF_CLASS.values(), *WORLD_KINDS)

# Judged by eye from the pictures and where they are; "test" chips are never trained on.
WORLD: dict[str, tuple[str, Literal["train", "test"]]] = {
    "patch_25630": ("ice sheet", "train"),  # Greenland
    "patch_33188": ("rocky desert", "train"),  # Arizona
    "patch_445": ("polar barrens", "train"),  # Ellesmere Island
    "patch_8845": ("boreal wetland", "train"),  # Northwest Territories
    "patch_57755": ("annual crops", "test"),  # Brazil
    "patch_58000": ("sand dunes", "train"),  # Kyzylkum
    "patch_61808": ("forest", "test"),  # China, a village in its valley
    "patch_70541": ("sand dunes", "train"),  # Libya
    "patch_70975": ("annual crops", "train"),  # Tunisia
    "patch_74721": ("sea or lake", "train"),  # Great Bear Lake
    "patch_75123": ("heath and scrub", "train"),  # Tierra del Fuego
    "patch_252161": ("rocky desert", "train"),  # Karoo
    "patch_275979": ("red outback", "train"),  # New South Wales
    "patch_286743": ("snow and winter forest", "train"),  # Russia
    "patch_322265": ("annual crops", "test"),  # Saskatchewan
    "patch_502692": ("dry woodland", "train"),  # Zambia
    "patch_511198": ("clouds", "train"),  # Japan
    "patch_526850": ("red outback", "train"),  # Western Australia
    "patch_566084": ("red outback", "test"),  # Zimbabwe
    "patch_752389": ("sea or lake", "test"),  # Gulf of Sidra
    "patch_759128": ("sand dunes", "test"),  # Libya, a track across
    "patch_766272": ("dry woodland", "train"),  # Northern Territory
    "patch_770287": ("snow and winter forest", "train"),  # Lena delta, snow with shadows
}
# Chips that show two kinds: where red reflectance is under so much, the ground is of the second.
SECOND_KINDS: dict[str, tuple[str, float]] = {
    "patch_445": ("sea or lake", 0.13),  # a coast and its fjord
    "patch_511198": ("forest", 0.12),  # clouds and what is seen between them
}
