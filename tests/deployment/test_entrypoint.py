"""How a container begins: secrets from files, and the demo collection on a volume."""

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from wildsat_core.collection.lock import writer_lock

SCRIPT = Path(__file__).parents[2] / "docker" / "entrypoint.py"


@pytest.fixture(scope="module")
def entrypoint() -> ModuleType:
    spec = importlib.util.spec_from_file_location("entrypoint", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_collection(root: Path, weights: str, generation: int = 1) -> Path:
    (root / "generations").mkdir(parents=True)
    manifest = {"model": {"name": "wildsat-mini", "weights_sha256": weights}}
    (root / "generations" / f"{generation}.json").write_text(json.dumps(manifest))
    (root / "CURRENT").write_text(f"{generation}\n")
    return root


def test_a_secret_is_read_from_its_file_line_by_line(entrypoint: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("first-key-of-a-client\n\n second-key-of-a-client \n")
    values = entrypoint.read_secrets({"WILDSAT_API_KEYS_FILE": str(tmp_path / "keys"), "HOSTNAME_FILE": "/nowhere"})
    assert values == {"WILDSAT_API_KEYS": "first-key-of-a-client,second-key-of-a-client"}


def test_an_empty_secret_sets_nothing(entrypoint: ModuleType) -> None:
    assert entrypoint.read_secrets({"WILDSAT_API_KEYS_FILE": "/dev/null", "WILDSAT_API_KEYS": "kept"}) == {}
    assert entrypoint.read_secrets({"WILDSAT_API_KEYS_FILE": ""}) == {}


def test_a_setting_given_twice_or_by_a_missing_file_stops_the_start(entrypoint: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a-key-of-a-client-0001")
    with pytest.raises(SystemExit, match="both WILDSAT_API_KEYS and WILDSAT_API_KEYS_FILE"):
        entrypoint.read_secrets({"WILDSAT_API_KEYS_FILE": str(tmp_path / "keys"), "WILDSAT_API_KEYS": "x"})
    with pytest.raises(SystemExit, match="WILDSAT_API_KEYS_FILE names /nowhere/keys, which can't be read"):
        entrypoint.read_secrets({"WILDSAT_API_KEYS_FILE": "/nowhere/keys"})


def test_an_empty_volume_gets_the_demo_once(entrypoint: ModuleType, tmp_path: Path) -> None:
    source, volume = make_collection(tmp_path / "image", "aaaa"), tmp_path / "volume"
    volume.mkdir()
    assert entrypoint.seed_demo(source, volume)
    assert (volume / "demo" / "CURRENT").read_text() == "1\n"
    assert not entrypoint.seed_demo(source, volume)


def test_current_may_hold_the_hash_of_the_manifest(entrypoint: ModuleType, tmp_path: Path) -> None:
    root = make_collection(tmp_path / "demo", "aaaa")
    (root / "CURRENT").write_text(f"1 {'0' * 64}\n")
    assert entrypoint.model_of(root)["weights_sha256"] == "aaaa"


def test_a_demo_that_has_grown_is_left_alone(entrypoint: ModuleType, tmp_path: Path) -> None:
    source, volume = make_collection(tmp_path / "image", "aaaa"), tmp_path / "volume"
    make_collection(volume / "demo", "aaaa", generation=7)
    assert not entrypoint.seed_demo(source, volume)
    assert (volume / "demo" / "CURRENT").read_text() == "7\n"


def test_a_demo_of_another_model_is_set_aside_and_not_deleted(entrypoint: ModuleType, tmp_path: Path) -> None:
    source, volume = make_collection(tmp_path / "image", "bbbb"), tmp_path / "volume"
    make_collection(volume / "demo", "aaaa", generation=7)
    assert entrypoint.seed_demo(source, volume)
    assert entrypoint.model_of(volume / "demo")["weights_sha256"] == "bbbb"
    assert entrypoint.model_of(volume / ".replaced" / "demo")["weights_sha256"] == "aaaa"


def test_what_was_set_aside_before_stays_too(entrypoint: ModuleType, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    for number, weights in enumerate(["aaaa", "bbbb", "cccc"]):
        make_collection(volume / "demo", weights)
        assert entrypoint.seed_demo(make_collection(tmp_path / f"image{number}", "dddd"), volume)
        shutil.rmtree(volume / "demo")
    kept = [entrypoint.model_of(volume / ".replaced" / name) for name in ("demo", "demo-2", "demo-3")]
    assert [model["weights_sha256"] for model in kept] == ["aaaa", "bbbb", "cccc"]


def test_a_collection_that_is_written_to_is_left_alone(entrypoint: ModuleType, tmp_path: Path) -> None:
    source, volume = make_collection(tmp_path / "image", "bbbb"), tmp_path / "volume"
    make_collection(volume / "demo", "aaaa")
    with writer_lock(volume / "demo"), pytest.raises(BlockingIOError):
        entrypoint.seed_demo(source, volume)
    assert entrypoint.model_of(volume / "demo")["weights_sha256"] == "aaaa"


def test_what_an_interrupted_copy_left_is_no_obstacle(entrypoint: ModuleType, tmp_path: Path, monkeypatch) -> None:
    source, volume = make_collection(tmp_path / "image", "aaaa"), tmp_path / "volume"
    monkeypatch.setattr(entrypoint.socket, "gethostname", lambda: "host")
    (volume / ".incoming" / "host").mkdir(parents=True)
    (volume / ".incoming" / "host" / "CURRENT").write_text("")
    assert entrypoint.seed_demo(source, volume)
    assert list((volume / ".incoming").iterdir()) == []


def test_an_image_without_a_demo_starts_all_the_same(entrypoint: ModuleType, tmp_path: Path) -> None:
    assert not entrypoint.seed_demo(tmp_path / "none", tmp_path)
