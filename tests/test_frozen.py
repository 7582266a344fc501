"""What a run folder holds is data: nothing that it names is called, but what is known to be harmless."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from test_cli import fails

from hardmine.cli import config_folder
from hardmine.cli.report import write_report
from hardmine.errors import InputError
from hardmine.frozen import BLOCKS, look_at_frozen, look_at_places
from hardmine.runs import RunFolder

GOOD: dict[str, Any] = {
    "seed": 0,
    "run_dir": "${hydra:runtime.output_dir}",
    "classes": None,
    "model": {"_target_": "segmentation_models_pytorch.Unet", "encoder_name": "resnet18", "classes": "${classes}"},
    "task": {"_target_": "hardmine.tasks.SegmentationTask", "lr": 0.1},
    "neighbourhood": {"_target_": None},
    "callbacks": {"stop": {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "val/miou"}},
}
NETWORKS = (
    {"_target_": "torchvision.models.get_model", "name": "resnet18", "num_classes": 3},
    {"_target_": "timm.create_model", "model_name": "resnet18", "pretrained": False},
    {"_target_": "hardmine.tasks.detectors.fcos", "num_classes": 3},
    {"_target_": "torch.nn.Sequential"},
    {"_target_": "torchvision.models.ResNet"},
)
CALLED = re.findall(
    r"\S+",
    """
    torch.load numpy.load torch.hub.load os.system subprocess.run subprocess.Popen builtins.eval builtins.exec
    eval pickle.load pickle.Unpickler shutil.rmtree pathlib.Path.unlink runpy.run_path hydra.utils.instantiate
    hydra.utils.call hydra.utils.get_method hydra._internal.utils._locate importlib.import_module
    webbrowser.open urllib.request.urlopen joblib.load yaml.unsafe_load torch.jit.load
    torch.package.PackageImporter torch.utils.cpp_extension.load torch.utils.data.DataLoader
    timm.models.load_checkpoint timm.models.load_model_config_from_hf
    segmentation_models_pytorch.from_pretrained lightning.pytorch.cli.LightningCLI lightning.Trainer.fit
    hardmine.cli.main hardmine.files.write_atomically hardmine.files.os.system hardmine.runs.shutil.rmtree
    hardmine.files.tempfile.NamedTemporaryFile hardmine.__main__.main
    hardmine.frozen.look_at_frozen.__globals__ torch.nn.Module.__init__ torch.nn
    lightning.pytorch.callbacks.callback.os.system torchvision.models._api.WeightsEnum hardminer.Evil
    torch.nn.modules.module.torch.package.PackageImporter torch.nn.modules.module.torch.jit.CompilationUnit
    torch.nn.modules.module.torch.jit.ScriptModule torch.nn.Parameter torch.optim.lr_scheduler.StepLR
    timm.data.ImageDataset torchvision.models.ResNet18_Weights hardmine.data.folder.Folder hardmine.store.ParameterStore
    hardmine.memory.Ledger hardmine.data.export.Export hardmine.callbacks.AtomicCheckpointIO
    torch.nn.modules.module.OrderedDict hardmine hardmine. .hardmine.Mining hardmine..Mining
    """,
)
CREATE = "${oc.${a}:{_target_:numpy.load,file:'evil.npy',allow_pickle:true}}"


def with_(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(GOOD))
    change(plain)
    return plain


def made(part: Any) -> Iterator[str]:
    """What a config of the program's own names as a run may write it; Hydra's own classes are not among it."""
    plain = OmegaConf.to_container(part, resolve=False) if OmegaConf.is_config(part) else part
    for name, value in plain.items() if isinstance(plain, dict) else ():
        if name == "_target_" and value and ".cli." not in value:
            yield value
        elif name != "hydra":
            yield from made(value)


def refused(plain: Any, message: str, allow: tuple[str, ...] = ()) -> None:
    with pytest.raises(InputError, match=message) as caught:
        look_at_frozen(plain, Path("run/config.yaml"), allow)
    assert str(caught.value).startswith("run/config.yaml: ") and "\n" not in str(caught.value)


def test_what_runs_write_is_read() -> None:
    look_at_frozen(GOOD, Path("config.yaml"))
    text = {"a": "${run_dir}/${model.encoder_name}", "b": "${model}", "c": ["${a}", "costs {5} $"]}
    look_at_frozen({**GOOD, **text}, Path("config.yaml"))


TARGETS = sorted({name for path in config_folder().glob("**/*.yaml") for name in made(OmegaConf.load(path))})


@pytest.mark.parametrize("target", TARGETS)
def test_what_the_configs_make_may_be_made(target: str) -> None:
    look_at_frozen(with_(lambda plain: plain.update(more={"_target_": target})), Path("config.yaml"))


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: str(network["_target_"]))
def test_networks(network: dict[str, Any]) -> None:
    look_at_frozen(with_(lambda plain: plain.update(model=network)), Path("config.yaml"))
    assert callable(instantiate(network)) if network["_target_"] != "torchvision.models.ResNet" else True


@pytest.mark.parametrize("target", [*CALLED, ""])
def test_what_is_never_called(target: str) -> None:
    refused(with_(lambda plain: plain["model"].update(_target_=target)), r"model\._target_: ")
    deep = {"a": [[{"b": {"_target_": target, "f": "x"}}]]}
    refused(with_(lambda plain: plain.update(more=deep)), r"more\.a\.0\.0\.b\._target_: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plain: plain["model"].update(_target_="${task._target_}"), "is no plain name"),
        (lambda plain: plain["model"].update(_target_=["torch.load"]), "is no plain name"),
        (lambda plain: plain["model"].update(_args_=["x"]), r"model\._args_"),
        (lambda plain: plain["model"].update(_partial_=True), r"model\._partial_"),
        (lambda plain: plain.update(seed="${oc.env:HOME}"), r"seed: .*allow=\[oc\.env\]"),
        (lambda plain: plain.update(seed="a ${ oc.decode : ${task.lr}}"), r"allow=\[oc\.decode\]"),
        (lambda plain: plain.update(seed=CREATE, a="create"), "than a key: write the value itself$"),
        (lambda plain: plain.update(seed="\\" + CREATE, a="create"), "seed: .* asks for more than a key"),
        (lambda plain: plain.update(seed="\\${run_dir}"), "seed: .* asks for more than a key"),
        (lambda plain: plain.update(seed="${a.${b}}", a=[1], b=0), "seed: .* asks for more than a key"),
        (lambda plain: plain.update(seed="${hydra:runtime.output_dir}"), "seed: .* asks for more than a key"),
        (lambda plain: plain.update(seed="${a}${b}", a="$", b="{oc.env:HOME}"), "seed: .* comes of what it refers to"),
        (lambda plain: plain.update(seed="${a}", a="${seed}"), "references: "),
        (lambda plain: plain.update(seed="${nowhere}"), "references: .*nowhere"),
        (lambda plain: plain.update(a=[{"b": "${a}"}]), "references: "),
        (lambda plain: plain.update({f"a{n}": [f"${{a{n + 1}}}"] * 10 for n in range(9)}, a9="x"), "references: "),
        (lambda plain: plain.update({f"a{n}": f"${{a{n + 1}}}" for n in range(3000)}, a3000="x"), "references: "),
        (lambda plain: plain.update({f"a{n}": f"${{a{n + 1}}}" * 10 for n in range(9)}, a9="x"), "references: "),
        (lambda plain: plain.update({f"a{n}": [f"${{a{n + 1}.0}}"] * 10 for n in range(9)}, a9="x"), "references: "),
        (lambda plain: plain.update(seed="${now:%Y}"), r"allow=\[now\]"),
        (lambda plain: plain.update(more=[{"deep": ["${oc.env:HOME}"]}]), r"more\.0\.deep\.0"),
        (lambda plain: plain.update(run_dir="${hydra:runtime.cwd}"), "run_dir"),
        (lambda plain: plain.update(hydra={"callbacks": {}}), "hydra: no run writes that"),
        (lambda plain: plain.update(defaults=["a"]), "defaults: no run writes that"),
        (lambda plain: plain.update(model={**NETWORKS[1], "checkpoint_path": "x.pth"}), "would read checkpoint_path"),
        (lambda plain: plain.update(model={**NETWORKS[1], "model_name": "hf-hub:a/b"}), "would read model_name"),
        (lambda plain: plain.update(model={**NETWORKS[1], "model_name": "${b}"}, b="local-dir:x"), "read model_name"),
        (lambda plain: plain.update(b="x.pth", model={**NETWORKS[1], "checkpoint_path": "${b}"}), "checkpoint_path"),
        (lambda plain: plain["model"].update(encoder_name="tu-local-dir:x"), "would read encoder_name"),
        (lambda plain: plain["model"].update(checkpoint_path="x.pth"), "would read checkpoint_path"),
        (lambda plain: plain["model"].update(encoder_params={"cache_dir": "x"}), "would read cache_dir"),
    ],
)
def test_other_ways_round(change: Callable[[dict[str, Any]], object], message: str) -> None:
    refused(with_(change), message)


@pytest.mark.parametrize("plain", [[], "text", 3, None, {}])
def test_what_is_no_config(plain: Any) -> None:
    refused(plain, "name another run folder")


def test_what_the_user_allows() -> None:
    plain = with_(lambda plain: plain["model"].update(_target_="mine.nets.Net"))
    refused(plain, r"set allow=\[mine\] where you trust the folder")
    look_at_frozen(plain, Path("config.yaml"), ["mine"])
    look_at_frozen(plain, Path("config.yaml"), ["mine.nets"])
    refused(plain, "mine", ("min",))
    for text in ("${oc.env:SEED}", "a/${ oc.env : SEED}/${task.lr}", "${oc.env:SEED,${task.lr}}"):
        asking = with_(lambda plain: None)
        asking.update(seed=text)
        look_at_frozen(asking, Path("config.yaml"), ["oc.env"])
    refused(with_(lambda plain: plain.update(seed="${oc.env:${now:x}}")), "asks for more than a key", ("oc.env", "now"))
    refused(with_(lambda plain: plain.update(seed=CREATE, a="env")), "asks for more than a key", ("oc.env", "oc"))


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A run folder of somebody else, which writes a file where what it names is called."""
    run = tmp_path / "evil"
    (run / ".hydra").mkdir(parents=True)
    (run / "checkpoints").mkdir()
    (run / "checkpoints/last.ckpt").write_bytes(b"")
    (run / "run.json").write_text('{"format": 1, "hardmine": "0"}')
    called = {"_target_": "pathlib.Path.touch", "_args_": [str(tmp_path / "called")]}
    call = {"_target_": "os.mkdir", "path": str(tmp_path / "called")}
    OmegaConf.save({**GOOD, "data": call, "model": call, "allow": ["os"], "x": called}, run / ".hydra/config.yaml")
    return run


@pytest.mark.parametrize("what", ["resume", "auto", "ckpt", "predictor", "export"])
def test_no_command_calls_it(
    what: str, evil: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, out = evil / "checkpoints/last.ckpt", tmp_path / "out"
    arguments = {
        "resume": ["train", f"resume={evil}"],
        "auto": ["train", "resume=auto", f"hydra.run.dir={evil}"],
        "ckpt": ["mine", f"ckpt={checkpoint}", f"out={out}", f"data.root={folder}"],
        "predictor": ["train", f"data.root={folder}", "data.regions=predicted", f"predictor={checkpoint}"],
        "export": ["export", f"run={evil}", f"out={out}"],
    }[what]
    more = [f"hydra.run.dir={tmp_path / 'run'}"] if what == "predictor" else []
    assert "evil/.hydra/config.yaml: " in fails(capsys, *arguments, *more)
    assert not (tmp_path / "called").exists() and not out.exists()


def test_a_folder_does_not_allow_itself_anything(evil: Path) -> None:
    OmegaConf.save({**GOOD, "allow": ["os"]}, evil / ".hydra/config.yaml")
    assert RunFolder(evil).config().allow == []
    assert RunFolder(evil).config(["mine"]).allow == ["mine"]


ALIASES = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1},' * 10}]\n" for n in range(1, 9))
ODD = ("x", "3", "null", "[1]") * 5
UNREAD = {
    **dict.fromkeys(("a: [", "a: [1\n\t2", "\x00", "a: \xff", "3", ""), "cannot be read"),
    **dict.fromkeys(("- 1", "[a]", "{}", "1: x"), "it must hold keys"),
    "!!python/object/apply:os.mkdir [x]": "cannot be read",
    ALIASES: "it has a YAML anchor or alias",
    "a: &b 1": "it has a YAML anchor or alias",
    f"a: {'[' * 3000}{']' * 3000}": "it is nested too deeply",
    f"a: {'{b: ' * 60}1{'}' * 60}": "it is nested too deeply",
    f"a: {'x' * (1 << 20)}": "it is too long",
    "# @package hydra\njob_logging: {version: 1}": "a directive of Hydra's",
    "\n \u2028#\t@package hydra\njob_logging: {version: 1}": "a directive of Hydra's",
    **{f"{name}: {value}": f"{name}: must be a block" for name, value in zip(BLOCKS, ODD, strict=False)},
}


@pytest.mark.parametrize("text", UNREAD, ids=lambda text: ascii(text[:20]))
def test_a_file_that_no_run_writes(text: str, evil: Path) -> None:
    """Whatever of it is used."""
    path = evil / ".hydra/config.yaml"
    path.write_bytes(text.encode("latin-1" if "\xff" in text else "utf-8"))
    for read in (lambda: RunFolder(evil).config(), lambda: write_report(evil)):
        with pytest.raises(InputError, match=rf"config\.yaml: .*{UNREAD[text]}.*: name another run folder"):
            read()


def test_blocks() -> None:
    common: Any = OmegaConf.to_container(OmegaConf.load(config_folder() / "common.yaml"), resolve=False)
    groups = {name for entry in common["defaults"] if isinstance(entry, dict) for name in entry}
    assert {*BLOCKS} == groups | {name for name, value in common.items() if isinstance(value, dict)} - {"hydra"}


# Where a run that goes on may write


def named(block: str, key: str, value: str) -> dict[str, Any]:
    return with_(lambda plain: plain.setdefault(block, {}).update({"mine": {key: value}}))


@pytest.mark.parametrize("block", ["callbacks", "logger", "trainer", "update"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dirpath", "/elsewhere"),
        ("filename", "/elsewhere/last"),
        ("filename", "../../last"),
        ("save_dir", "~"),
        ("folder", "pictures"),  # below the folder in which the command is typed
        ("path", "${run_dir}/../other/before.ckpt"),
        ("trace", "${run_dir}x/trace.csv"),
        ("default_root_dir", "s3://bucket"),
    ],
)
def test_places_outside_of_the_folder(block: str, key: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{block}\.mine\.{key}: .* outside of the run's folder: .*allow=\["):
        look_at_places(named(block, key, value), tmp_path / "run/.hydra/config.yaml")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dirpath", "${run_dir}/checkpoints"),
        ("path", "${run_dir}/a/../b.csv"),
        ("filename", "{epoch}-{step}"),
        ("monitor", "val/miou"),
        ("dirpath", "/scratch/checkpoints"),
    ],
)
def test_places_below_the_folder_or_allowed(key: str, value: str, tmp_path: Path) -> None:
    look_at_places(named("callbacks", key, value), tmp_path / "run/.hydra/config.yaml", ["/scratch"])


def test_places_that_are_only_read(tmp_path: Path) -> None:
    look_at_places(named("data", "root", "/data/camvid"), tmp_path / "run/.hydra/config.yaml")


def test_links_out_of_the_folder(evil: Path, tmp_path: Path) -> None:
    OmegaConf.save(GOOD, evil / ".hydra/config.yaml")
    other = tmp_path / "other"
    other.mkdir()
    RunFolder(evil).look_at_places()
    (evil / "pictures").symlink_to(other)
    with pytest.raises(InputError, match=r"pictures: is a link to .*other, outside of the run's folder: set allow="):
        RunFolder(evil).look_at_places()
    RunFolder(evil).look_at_places([str(other)])


def test_a_lock_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.lock").symlink_to(kept)
    with pytest.raises(InputError, match=r"run\.lock: is a link"):
        RunFolder(run).claim()
    assert kept.read_text() == "mine"
