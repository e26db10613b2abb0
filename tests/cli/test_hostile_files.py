"""Files that were made to do harm: refused in one line, and in little memory."""

import fcntl
import gzip
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from softstep.cli.classifier import weights
from softstep.cli.classifier.weights import load_weights
from softstep.cli.data import arrays, memory, parquet, source
from softstep.cli.data.conversion import Conversion, Feature
from softstep.cli.data.dataset import read_table
from softstep.cli.data.dialect import Reading
from softstep.cli.errors import InputError
from softstep.cli.files import staging
from softstep.cli.files.staging import staging_folder
from softstep.cli.language_model.weights import load_lm, save_lm
from tests.cli.hostile_files import HEADERS, archive, bomb, declared, gzip_bomb, peak_of, savez

MEBI = 1 << 20


def read_data(path: Path) -> object:
    return read_table(str(path), Reading(), (), quiet=True)


def refusal(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and len(message) < 1000
    return message


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Archives that are read."""
    folder = tmp_path_factory.mktemp("whole")
    conversion = Conversion((Feature("a"), Feature("b")), np.zeros(2), np.ones(2))
    trained = weights.Weights(
        [np.ones((2, 3), np.float32)], [np.ones(3, np.float32)], conversion, [*"xyz"], [*"ab"], True
    )
    trained.save(folder / "train.npz")
    parameters = {
        "embedding": np.ones((4, 2), np.float32),
        "head_weight": np.ones((3, 4), np.float32),
        "head_bias": np.ones(3, np.float32),
    }
    save_lm(folder / "lm.npz", parameters, ["?", "a", "b"], {"context": 2})
    savez(folder / "data.npz", X=np.arange(6.0).reshape(3, 2), y=np.arange(3))
    return {name: folder / f"{name}.npz" for name in READERS}


READERS: dict[str, Callable[[Path], object]] = {
    "train": load_weights,
    "lm": load_lm,
    "data": read_data,
}
MEMBERS = {"train": "mean", "lm": "embedding", "data": "X"}


@pytest.mark.parametrize("kind", READERS)
def test_these_are_read_as_they_are(kind: str, whole: dict[str, Path]) -> None:
    READERS[kind](whole[kind])


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("header", HEADERS)
def test_headers(
    header: str, kind: str, whole: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    member = {f"{MEMBERS[kind]}.npy": HEADERS[header]}
    path = archive(tmp_path / "bad.npz", member, like=whole[kind])
    assert peak_of(lambda: refusal(READERS[kind], path)) < 4 * MEBI
    assert [file.name for file in tmp_path.iterdir()] == ["bad.npz"]


@pytest.mark.parametrize("header", HEADERS)
def test_headers_of_a_single_array(header: str, tmp_path: Path) -> None:
    (tmp_path / "bad.npy").write_bytes(HEADERS[header])
    assert peak_of(lambda: refusal(read_data, tmp_path / "bad.npy")) < 4 * MEBI


@pytest.mark.parametrize("name", ["classes", "columns"])
def test_names_that_are_no_texts(name: str, whole: dict[str, Path], tmp_path: Path) -> None:
    for array in (declared("<U1", (300, 0)), declared("<f8", (3,), bytes(24))):
        path = archive(tmp_path / "bad.npz", {f"{name}.npy": array}, like=whole["train"])
        assert f"{name}: expected a vector of texts" in refusal(load_weights, path)


@pytest.mark.parametrize("kind", ["train", "lm"])
def test_json_without_end(kind: str, whole: dict[str, Path], tmp_path: Path) -> None:
    deep = "[" * 100_000
    member = {"settings.npy": declared(f"<U{len(deep)}", (), deep.encode("utf-32-le"))}
    path = archive(tmp_path / "bad.npz", member, like=whole[kind])
    assert "settings: expected JSON, got brackets without end" in refusal(READERS[kind], path)


@pytest.mark.parametrize("name", ["mean", "scale", "bias0", "weight0"])
def test_arrays_of_another_dtype(name: str, whole: dict[str, Path], tmp_path: Path) -> None:
    with np.load(whole["train"]) as saved:
        texts = {**saved, name: saved[name].astype("U4")}
    path = savez(tmp_path / "bad.npz", **texts)
    assert f"{name}: expected float" in refusal(load_weights, path)


@pytest.mark.parametrize("kind", ["train", "lm"])
def test_our_archives_take_no_more_memory_than_bytes(
    kind: str, whole: dict[str, Path], tmp_path: Path
) -> None:
    """They are not packed: one that is has been made by others."""
    path = bomb(tmp_path / "bomb.npz", "mean.npy", 8, MEBI)
    assert path.stat().st_size < MEBI / 8
    assert peak_of(lambda: refusal(READERS[kind], path)) < 2 * MEBI
    # Many members that are one and the same.
    many = {f"weight{k}.npy": declared("<f4", (256, 256), bytes(1 << 18)) for k in range(9)}
    path = archive(tmp_path / "packed.npz", many, zipfile.ZIP_DEFLATED, whole[kind])
    assert "its arrays would take" in refusal(READERS[kind], path)


@pytest.mark.parametrize("kind", ["train", "lm"])
@pytest.mark.parametrize(
    "name", ["../up.npy", "/etc/passwd.npy", "a\\b.npy", "C:x.npy", "a\x1b[2J.npy"]
)
def test_names_with_paths(name: str, kind: str, whole: dict[str, Path], tmp_path: Path) -> None:
    path = archive(tmp_path / "bad.npz", {name: declared("<f4", (0,))}, like=whole[kind])
    message = refusal(READERS[kind], path)
    assert "got members that it does not have" in message and message.isprintable()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice(whole: dict[str, Path], tmp_path: Path) -> None:
    path = archive(tmp_path / "bad.npz", {}, like=whole["train"])
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("mean.npy", declared("<f8", (2,), bytes(16)))
    assert "got members that it does not have" in refusal(load_weights, path)


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch) -> int:
    """A machine on which files are unpacked to at most 4 MiB."""
    for module in (arrays, parquet, source):
        monkeypatch.setattr(module, "most_unpacked", lambda: 4 * MEBI)
    return 4 * MEBI


def test_archives_that_unpack_to_more_than_memory(small_machine: int, tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.npz", "X.npy", 64, MEBI // 8)
    assert peak_of(lambda: refusal(read_data, path)) < small_machine
    np.save(tmp_path / "large.npy", np.zeros((8, MEBI // 8)))
    assert peak_of(lambda: refusal(read_data, tmp_path / "large.npy")) < small_machine


def test_only_what_is_read_counts(small_machine: int, tmp_path: Path) -> None:
    path = savez(tmp_path / "a.npz", X=np.ones((3, 2)), y=np.arange(3), other=np.zeros(MEBI))
    read_data(path)


@pytest.mark.parametrize("suffix", [".gz", ".zip"])
def test_texts_that_unpack_to_more_than_memory(
    suffix: str, small_machine: int, tmp_path: Path
) -> None:
    path = tmp_path / f"bomb.csv{suffix}"
    gzip_bomb(path, 64)
    if suffix == ".zip":
        text = gzip.decompress(path.read_bytes())
        archive(path, {"bomb.csv": text}, zipfile.ZIP_DEFLATED)
        del text
    assert path.stat().st_size < MEBI / 8
    message = ""

    def read() -> None:
        nonlocal message
        message = refusal(read_data, path)

    assert peak_of(read) < 10 * small_machine
    assert f"expected at most {small_machine} bytes unpacked, got more" in message


def test_rows_of_parquet_that_are_alike(small_machine: int, tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    column = polars.Series("a", [1.0]).new_from_index(0, MEBI)
    polars.DataFrame([column]).write_parquet(tmp_path / "bomb.parquet")
    assert (tmp_path / "bomb.parquet").stat().st_size < MEBI / 8
    assert "would take 8388608 bytes" in refusal(read_data, tmp_path / "bomb.parquet")


SPARSE = {
    "data": np.full(3, 1e300),
    "indices": np.array([0, 1, 2], np.int32),
    "indptr": np.array([0, 3, 3], np.int32),
    "shape": np.array([2, 3]),
}
AMISS = {
    # SciPy's conversion writes wherever an index says.
    "an index beyond": {"indices": np.array([0, 1, 2**30], np.int32)},
    "an index below": {"indices": np.array([0, 1, -(2**30)], np.int32)},
    "starts that go back": {"indptr": np.array([0, 5, 3], np.int32)},
    "starts beyond": {"indptr": np.array([0, 3, 2**30], np.int32)},
    "a shape of no memory": {"shape": np.array([2**40, 2**40])},
    "a shape of texts": {"shape": np.array(["2", "3"])},
    "a negative shape": {"shape": np.array([-2, 3])},
    "a shape of fractions": {"shape": np.array([2.5, 3.0])},
    "indices of texts": {"indices": np.array(["0", "1", "2"])},
    "indices that are fractions": {"indices": np.array([0, 1, 1.5])},
    "data in a row": {"data": np.ones((1, 3))},
    "texts": {"data": np.array([*"abc"])},
}


@pytest.mark.parametrize("of", ["csr", "csc"])
@pytest.mark.parametrize("what", AMISS)
def test_sparse_arrays(what: str, of: str, tmp_path: Path) -> None:
    pytest.importorskip("scipy.sparse")
    shape = SPARSE["shape"] if of == "csr" else SPARSE["shape"][::-1]
    parts = {**SPARSE, "shape": shape, "format": np.array(of)}
    read_data(savez(tmp_path / "good.npz", **parts))
    path = savez(tmp_path / "bad.npz", **{**parts, **AMISS[what]})
    assert "X: " in refusal(read_data, path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("kind", READERS)
def test_other_packings(kind: str, method: int, whole: dict[str, Path], tmp_path: Path) -> None:
    path = archive(tmp_path / "bad.npz", {}, method, whole[kind])
    assert "expected a member as numpy.savez packs it" in refusal(READERS[kind], path)


@pytest.mark.parametrize("kind", [*READERS, "text"])
def test_encrypted_members(kind: str, whole: dict[str, Path], tmp_path: Path) -> None:
    if kind == "text":
        path, read = archive(tmp_path / "bad.csv.zip", {"a.csv": b"1,2\n"}), read_data
    else:
        path, read = archive(tmp_path / "bad.npz", {}, like=whole[kind]), READERS[kind]
    content = bytearray(path.read_bytes())
    at = -1
    while (at := content.find(b"PK\x01\x02", at + 1)) >= 0:
        content[at + 8] |= 1
        local = int.from_bytes(content[at + 42 : at + 46], "little")
        content[local + 6] |= 1
    path.write_bytes(content)
    assert "encrypted" in refusal(read, path)


def test_the_memory_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CGROUPS", ())
    whole_machine = memory.most_unpacked()
    assert 2 * whole_machine == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for text, most in (("max\n", whole_machine), (f"{MEBI}\n", MEBI // 2)):
        (tmp_path / "memory.max").write_text(text)
        monkeypatch.setattr(memory, "CGROUPS", (str(tmp_path / "memory.max"), "/nowhere"))
        assert memory.most_unpacked() == most


def test_files_are_staged_where_nobody_else_can_write(tmp_path: Path) -> None:
    with staging_folder(tmp_path) as folder:
        assert folder.parent == tmp_path and stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_whatever_has_the_name_of_a_staging_folder(tmp_path: Path) -> None:
    """A pipe is not waited for, a link not followed."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    os.mkfifo(tmp_path / f"{staging.PREFIX}pipe")
    (tmp_path / f"{staging.PREFIX}link").symlink_to(tmp_path / "mine")
    (tmp_path / f"{staging.PREFIX}file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with staging_folder(tmp_path, alone=True):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_another_process_has_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "PATIENCE", 0.05)
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with (
        pytest.raises(InputError, match="another process holds its lock"),
        staging_folder(tmp_path),
    ):
        pass
    os.close(other)
    with staging_folder(tmp_path):
        pass
