"""Reading strangers' files: what is needed comes out, nothing runs, refusals name the reason."""

import argparse
import os
import pickle
import struct
import zipfile

import pytest
import torch
from torch import nn

from wildsat_core.errors import CheckpointError
from wildsat_core.models.checkpoint import Skipped, read_checkpoint, state_dict_of, without_prefix


class Runs:
    """Pickles as a call of whatever function it is given."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def test_options_and_weights_come_out_and_schedulers_are_skipped(tmp_path):
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()  # so that the scheduler drags a filled optimiser along
    content = {
        "state": layer.state_dict(),
        "opt": argparse.Namespace(satellite_encoder="resnet50"),
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 10),
        "optimizer": optimizer.state_dict(),
    }
    for zipped in (True, False):
        torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
        read = read_checkpoint(tmp_path / "a.pth")
        assert read["opt"].satellite_encoder == "resnet50"
        assert isinstance(read["scheduler"], Skipped)
        assert not isinstance(read["scheduler"], torch.optim.lr_scheduler.LRScheduler)
        torch.testing.assert_close(state_dict_of(read, "state", "a")["weight"], layer.weight.detach())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("where", ["whole", "opt", "weights", "scheduler"])
def test_a_hostile_pickle_runs_nothing(tmp_path, where, zipped):
    witness = tmp_path / "ran"
    evil = Runs(os.system, f"touch {witness}")
    content = evil if where == "whole" else {"opt": argparse.Namespace(), where: {"w": evil}}
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"asks for posix\.system.*nothing was run"):
        read_checkpoint(tmp_path / "evil.pth")
    assert not witness.exists()


@pytest.mark.parametrize("function", [eval, exec, __import__, getattr, open, pickle.loads])
def test_no_dangerous_function_is_called(tmp_path, function):
    torch.save({"x": Runs(function, "1")}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="which a weight file has no need of"):
        read_checkpoint(tmp_path / "evil.pth")


def test_a_harmless_name_does_not_smuggle_a_call_in(tmp_path):
    """A name under a skipped package is not looked up: the stand-in takes the arguments and drops them."""
    witness = tmp_path / "ran"
    argument = f"open({str(witness)!r}, 'w')".encode()
    called = b"cnumpy.testing\nmeasure\n(X" + struct.pack("<I", len(argument)) + argument + b"tR"
    with zipfile.ZipFile(tmp_path / "evil.pth", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}X\x01\x00\x00\x00x" + called + b"s.")
        archive.writestr("a/version", "3\n")
    assert isinstance(read_checkpoint(tmp_path / "evil.pth")["x"], Skipped)
    assert not witness.exists()


@pytest.mark.parametrize(
    "junk", [b"", b"junk" * 99, b"PK\x03\x04 not really", pickle.dumps({"a": 1}), struct.pack("<Q", 2**62)]
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, junk):
    (tmp_path / "junk.pth").write_bytes(junk)
    with pytest.raises(CheckpointError, match=r"junk\.pth can't be read"):
        read_checkpoint(tmp_path / "junk.pth")


def test_a_truncated_checkpoint_is_refused(tmp_path):
    torch.save({"w": torch.randn(1000)}, tmp_path / "cut.pth")
    whole = (tmp_path / "cut.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"cut\.pth can't be read"):
        read_checkpoint(tmp_path / "cut.pth")


def test_a_missing_file_and_a_bare_tensor_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.pth can't be read"):
        read_checkpoint(tmp_path / "none.pth")
    torch.save(torch.zeros(3), tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match="holds a Tensor, not a dictionary"):
        read_checkpoint(tmp_path / "bare.pth")


def test_state_dicts_lose_the_prefix_of_parallel_training_and_hold_tensors_only():
    content = {"state": {"module.backbone.w": torch.zeros(1), "head.w": torch.ones(1)}, "odd": {"w": 3}, "empty": {}}
    assert sorted(state_dict_of(content, "state", "file")) == ["backbone.w", "head.w"]
    assert sorted(without_prefix(state_dict_of(content, "state", "file"), "backbone.")) == ["w"]
    with pytest.raises(CheckpointError, match="not tensors among its weights: w"):
        state_dict_of(content, "odd", "file")
    for key in ("empty", "absent"):
        with pytest.raises(CheckpointError, match=f"no weights under '{key}'; it has"):
            state_dict_of(content, key, "file")
