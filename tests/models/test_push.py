"""`c2p push` by the hub's own client against a local server that speaks the hub's HTTP (its LFS way, not Xet)."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import open_clip
import pytest
import torch
from hub import COMMIT, Hub, serving_hub
from huggingface_hub import constants
from safetensors.torch import load

from c2p import params
from c2p.cli import main
from c2p.models.clip import create_clip
from c2p.models.depth_encoder import DepthEncoder, save_depth_encoder

TEACHER = params.Teacher(
    model="c2p-demo", pretrained="", epochs=1, batch=2, lr=1e-3, weight_decay=0.1, warmup=0.1, seed=5
)
CARD = "---\nlicense: apache-2.0\nlibrary_name: open_clip\npipeline_tag: zero-shot-image-classification\n---\n# Mine\n"
TOKEN = "hf_secret"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clip = create_clip(TEACHER)
    folder = tmp_path_factory.mktemp("encoder")
    save_depth_encoder(DepthEncoder.from_clip(clip), clip, folder, CARD)
    save_depth_encoder(DepthEncoder.from_clip(clip), clip, folder / "seed-0", CARD)
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serving_hub(TOKEN) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url("").rstrip("/"))
        yield server


def test_the_whole_folder_arrives_in_one_commit(hub: Hub, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", "me/encoder", "--encoder", str(made), "--private"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"me/encoder/commit/{COMMIT}")
    files = hub.repositories["me/encoder"]
    assert files == {path.name: path.read_bytes() for path in made.iterdir() if path.is_file()}
    assert hub.visibility == {"me/encoder": "private"} and hub.messages == ["Mine"]
    assert len([line for line in hub.asked if "/commit/" in line]) == 1
    state = load(files["open_clip_model.safetensors"])
    model = open_clip.create_model(f"local-dir:{made}")
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_an_existing_repository_is_left_alone_unless_asked(
    hub: Hub, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repositories["me/encoder"] = {"notes.txt": b"mine"}
    assert main(["push", "me/encoder", "--encoder", str(made)]) == 2
    said = capsys.readouterr().err
    assert "there is such a repository already; add a commit with --update" in said
    assert hub.repositories["me/encoder"] == {"notes.txt": b"mine"}
    assert main(["push", "me/encoder", "--encoder", str(made), "--update"]) == 0
    assert hub.repositories["me/encoder"].keys() == {
        "notes.txt",
        "README.md",
        "open_clip_config.json",
        "open_clip_model.safetensors",
    }


def test_a_dry_run_sends_nothing(
    hub: Hub, made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["push", "me/encoder", "--encoder", str(made), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "would go to me/encoder: Mine; a token is set; nothing was sent" in said and TOKEN not in said
    assert "open_clip_model.safetensors" in said and "seed-0" not in said
    monkeypatch.delenv("HF_TOKEN")
    assert main(["push", "me/encoder", "--encoder", str(made), "--dry-run"]) == 0
    assert "no token is set" in capsys.readouterr().out and hub.asked == []


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("no token", "no token: set HF_TOKEN or run `hf auth login`"),
        ("wrong token", "your token is not known"),
        ("not mine", "your token may not do that"),
        ("gone", "there is no such repository, or it is hidden from you"),
        ("odd licence", "Invalid metadata in README.md"),
        ("read only", "your token may not do that.*; it was made, and is empty: go on with --update"),
        ("full", "the hub answers 507"),
        ("no network", "the hub is out of reach or broke off .*check the connection"),
        ("no owner", "got 'encoder'; allowed: OWNER/NAME"),
        ("odd name", "give OWNER/NAME"),
        ("both", "keeps its visibility"),
    ],
)
def test_refusals_are_one_line_without_the_token(
    hub: Hub,
    made: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    case: str,
    said: str,
) -> None:
    name = {"not mine": "others/encoder", "no owner": "encoder", "odd name": "me/a--b..c"}.get(case, "me/encoder")
    if case == "no token":
        monkeypatch.delenv("HF_TOKEN")
    if case == "wrong token":
        monkeypatch.setenv("HF_TOKEN", "hf_other")
    if case == "read only":
        hub.refuse["preupload"] = (403, "Forbidden: pass a token with write access")
    if case == "full":
        hub.refuse["create"] = (507, "no room")
    if case == "no network":
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    if case == "odd licence":
        made = shutil.copytree(made, tmp_path / "odd")
        (made / "README.md").write_text(CARD.replace("apache-2.0", "my-own"))
    options = {"gone": ["--update"], "both": ["--private", "--update"]}.get(case, [])
    assert main(["push", name, "--encoder", str(made), *options]) == 2
    text = capsys.readouterr().err
    assert re.search(said, text) and text.count("\n") == 1 and TOKEN not in text and "hf_other" not in text
    assert not any(hub.repositories.values())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("no folder", "make the encoder with `dvc repro select`"),
        ("no card", "no model card there"),
        ("no metadata", "its metadata lack license"),
        ("broken metadata", "its metadata can't be read"),
        ("other licence", "license_name, which the licence `other` needs"),
        ("cut weights", "cut short or damaged"),
    ],
)
def test_what_is_no_encoder_is_not_sent(
    hub: Hub, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str, said: str
) -> None:
    folder = tmp_path / "copy"
    if damage != "no folder":
        shutil.copytree(made, folder)
    card = folder / "README.md"
    if damage == "no card":
        card.unlink()
    if damage == "no metadata":
        card.write_text("# Mine\n")
    if damage == "broken metadata":
        card.write_text("---\nlicense: [\n---\n# Mine\n")
    if damage == "other licence":
        card.write_text(CARD.replace("apache-2.0", "other"))
    if damage == "cut weights":
        weights = folder / "open_clip_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-50])
    assert main(["push", "me/encoder", "--encoder", str(folder)]) == 2
    text = capsys.readouterr().err
    assert said in text and text.count("\n") == 1 and hub.asked == []
