"""Files of weights in the folder where PyTorch keeps them."""

import numpy as np
import pytest
import torch
from messages import message

import tinyconv as tc


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tc.hub, "_chosen", [])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


def test_a_file_that_is_there_is_read(folder):
    folder.mkdir(parents=True)
    torch.save({"w": torch.arange(3.0)}, folder / "net-123.pth")
    assert tc.hub.load_state_dict_from_url("https://x.org/a/net-123.pth?raw=1")["w"].tolist() == [0.0, 1.0, 2.0]
    found = tc.utils.model_zoo.load_url("https://x.org/a/b", model_dir=str(folder), file_name="net-123.pth")
    np.testing.assert_array_equal(found["w"].numpy(), np.arange(3))


def test_a_file_that_is_not_there_is_not_downloaded(folder):
    said = message(FileNotFoundError, tc.hub.load_state_dict_from_url, "https://x.org/net.pth", progress=False)
    assert said == (
        f"nothing is downloaded here: fetch https://x.org/net.pth yourself and put it there as {folder / 'net.pth'}"
    )


def test_the_folder_is_that_of_pytorch(folder, monkeypatch):
    assert tc.hub.get_dir() == torch.hub.get_dir() == str(folder.parent)
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    assert tc.hub.get_dir() == torch.hub.get_dir()
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert tc.hub.get_dir() == torch.hub.get_dir()
    tc.hub.set_dir(folder)
    assert tc.hub.get_dir() == str(folder)


def test_imports_as_people_write_them():
    with tc.as_torch():
        import torch.utils.model_zoo as zoo
        from torch.hub import load_state_dict_from_url
    assert zoo.load_url is load_state_dict_from_url is tc.hub.load_state_dict_from_url
    assert "a downloader" in message(AttributeError, getattr, tc.hub, "download_url_to_file")
