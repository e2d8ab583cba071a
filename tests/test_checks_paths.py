"""Paths that cannot be those of files are refused before any work, by name, and nothing is left of the call."""

import os
import pickle

import numpy as np
import pytest

import ntkrs

pytest.importorskip("safetensors", reason="networks in files need safetensors")

X = np.eye(3)
KERNEL = ntkrs.mlp(depth=1, width=1, outputs=1).kernel()
NET = ntkrs.mlp(depth=1, width=2, outputs=1).init(in_features=3)
WRITERS = {
    "gram": lambda path: ntkrs.gram(KERNEL, X, path),
    "gram that replaces": lambda path: ntkrs.gram(KERNEL, X, path, overwrite=True),
    "solve": lambda path: ntkrs.solve(KERNEL(X), np.ones(3), 0.1, method="pcg", checkpoint=path),
    "save": NET.save,
}
READERS = {
    "open_gram": ntkrs.open_gram,
    "load": ntkrs.Network.load,
    "from_safetensors": lambda path: ntkrs.convert.from_safetensors(path, "relu"),
}


@pytest.mark.parametrize("call", [*WRITERS.values(), *READERS.values()], ids=[*WRITERS, *READERS])
def test_no_file_has_this_path(call, tmp_path):
    with pytest.raises(TypeError, match=r"(path|checkpoint) is 3, but the path of a file is needed"):
        call(3)
    for text in ("", "a\0b"):
        with pytest.raises(ValueError, match=r"(path|checkpoint) is '.*', but the path of a file is needed: no file"):
            call(text)
    for folder in (tmp_path, str(tmp_path), os.fsencode(tmp_path)):
        with pytest.raises(IsADirectoryError, match=r"(path|checkpoint) is '.*', a folder, but .* add a name to it"):
            call(folder)
    assert not any(tmp_path.iterdir())
    assert list(tmp_path.parent.glob(f"{tmp_path.name}*")) == [tmp_path]


@pytest.mark.parametrize("call", WRITERS.values(), ids=WRITERS)
def test_a_folder_that_does_not_exist(call, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"(path|checkpoint) is '.*file', but there is no folder '.*below': make"
    ):
        call(tmp_path / "below" / "file")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("call", WRITERS.values(), ids=WRITERS)
def test_paths_of_any_kind(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["a b", "ü", "plain"]
    for path in (tmp_path / names[0], names[1], os.fsencode(names[2])):
        call(path)
    assert {*names} <= {file.name for file in tmp_path.iterdir()}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes on this system")
@pytest.mark.parametrize("call", [*WRITERS.values(), *READERS.values()], ids=[*WRITERS, *READERS])
def test_pipes_and_devices_are_neither_read_nor_replaced(call, tmp_path):
    """A pipe is read for ever, and root's rename would put a file in the place of /dev/null."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    before = pipe.stat()
    for path in (pipe, link, *["/dev/null"] * (call in READERS.values())):
        with pytest.raises(
            OSError, match=r"(path|checkpoint) is '.*', a pipe, a socket or a device, but the path of a"
        ):
            call(path)
    assert os.path.samestat(pipe.stat(), before)
    assert link.is_symlink()
    assert {file.name for file in tmp_path.iterdir()} == {"pipe", "link"}


def test_relative_paths_are_those_of_the_folder_at_the_call(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    ntkrs.gram(KERNEL, X, "K.npy")
    found = ntkrs.open_gram("K.npy")
    y = np.random.default_rng(0).standard_normal(3)

    def move(_done, _total):
        os.chdir(tmp_path / "elsewhere")

    ntkrs.solve(KERNEL(X), y, 0.1, method="pcg", checkpoint="solution", checkpoint_seconds=0.0, progress=move)
    assert np.array_equal(np.asarray(pickle.loads(pickle.dumps(found))), KERNEL(X))
    assert not any((tmp_path / "elsewhere").iterdir())
    assert (tmp_path / "solution").exists()
