"""Tests of training/mini/stages.py: what was trained is read again, as long as the settings are the same."""

import torch

from training.mini.stages import Stages


def test_a_part_is_trained_once_for_the_same_settings(tmp_path):
    trained = []

    def run(settings):
        part = torch.nn.Linear(2, 2)

        def train():
            trained.append(settings)
            torch.nn.init.constant_(part.weight, float(len(trained)))

        Stages(tmp_path, settings).run("part", part, train)
        return part.weight[0, 0].item()

    assert [run("a"), run("a"), run("b"), run("b")] == [1.0, 1.0, 2.0, 2.0]
    assert trained == ["a", "b"]


def test_without_a_folder_nothing_is_kept(tmp_path):
    trained = []
    for _ in range(2):
        Stages(None, "a").run("part", torch.nn.Linear(1, 1), lambda: trained.append(1))
    assert len(trained) == 2
