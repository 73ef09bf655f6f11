"""Every option composes, and values are taken in the documented order."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from maskbench.app.config.compose import compose, load, opened
from maskbench.app.config.folder import config_folder
from maskbench.app.config.help import GROUPS, options
from maskbench.app.config.jobs import jobs
from maskbench.app.config.runs import start_of_seed
from maskbench.app.config.schema_masking import CausalMask, Mixture, NamedTask
from maskbench.app.config.schema_model import Autoencoder, Decoder, Encoder
from maskbench.errors import ConfigError

FOLDER = config_folder()
OPTIONS = [(g, o) for g in GROUPS["train"].split() for o in options(FOLDER, g)]
BETS = ["bet", "vqbet", "cbet", "cbet_stack"]
FAMILIES = [
    "unimask",
    "bert",
    "maskdp",
    "mtm",
    "gpt",
    "gpt_random",
    "decision_gpt",
    "decision_transformer",
    "bet",
    "vqbet",
    "cbet",
    "cbet_stack",
]
#: What an option needs beside it to be a runnable whole.
PARTNERS = {
    "decoder": ["masking=gpt"],
    "autoencoder": ["masking=maskdp"],
    "autoencoder_mtm": ["masking=mtm"],
    "interleaved": ["masking.tasks=[bc]"],
    "observation": ["masking=bet"],
    "decision_gpt": ["masking=decision_gpt"],
    "decision_transformer": ["masking=decision_transformer"],
    "optuna": [],
    "lstm": ["masking=gpt"],
    "gaussian": ["env=pointmass1"],
    "mdn": ["env=pointmass1"],
    "vqbet": ["env=pointmass1"],
    "maskdp_gpt": ["masking=maskdp_gpt"],
    "goal_gpt": ["masking=goal_gpt"],
    "goal_mlp": ["env=walker", "masking=goal_mlp"],
    "goal_observation": ["masking=goal_gpt"],
    "cross": ["masking=vima", "env=tabletop"],
    "state_action": ["masking=vima", "env=tabletop"],
    "poses": ["masking=vima", "env=tabletop"],
    **{f"text_gpt_{size}": ["env=kitchen_lite", "masking=text_bc", "text.kitchen=1"] for size in ("xs", "s", "m")},
    "gpt2": ["env=kitchen_lite", "masking=text_bc", "text.kitchen=1", "model.path=gpt2"],
}
#: What schemes need beside them: environments of numbers alone, or with instructions.
WORLDS = {"vima": "tabletop", "goal_mlp": "walker"}
#: Worlds of words, which have schemes of their own.
TEXT = ("cooking_level_1", "cooking_level_2", "cooking_level_3", "cooking_level_4", "kitchen_lite", "lantern_house")
TEXT = (*TEXT, "zmachine", "zork")
IN_WORDS = ["masking=text_bc", "text.kitchen=1"]


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=lambda x: x)
def test_every_option_of_every_group_composes(group: str, option: str) -> None:
    if option == "carla":
        pytest.skip("named, not built: see tests/envs/test_contract.py")
    if group == "dataset" and option != "doorkey":
        partners = [f"env={option}"]
    else:
        world = WORLDS.get(option) or WORLDS.get(option.split("_")[0])
        partners = PARTNERS.get(option, []) if group != "masking" else [f"env={world}"] if world else []
    if group in ("env", "dataset") and option in TEXT:
        partners = [*partners, *IN_WORDS]
    if (group, option) in (("paper", "ttm/self_training"), ("paper", "ttm/story")):
        partners = ["dataset.path=data/text/self"]
    if group == "masking" and option.startswith("text_"):
        partners = ["env=kitchen_lite", "text.kitchen=1"]
    load("train", [f"{group}={option}", *partners])


@pytest.mark.parametrize(
    ("env", "masking"),
    product([e for e in options(FOLDER, "env") if e != "carla" and e not in TEXT], [*FAMILIES, "multitask", "goal"]),
)
def test_every_environment_composes_with_every_family_of_masks(env: str, masking: str) -> None:
    config = load("train", [f"env={env}", f"masking={masking}"])
    assert config.env.name == env
    assert config.experiment.name == f"train_{env}"


def test_masking_brings_its_partners_and_the_command_line_replaces_them() -> None:
    assert isinstance(load("train", ["masking=bet", "env=pointmass1"]).model, Decoder)
    assert isinstance(load("train", ["masking=maskdp", "env=walker"]).model, Autoencoder)
    config = load("train", ["masking=maskdp", "env=walker", "model=encoder", "tokens=per_factor"])
    assert isinstance(config.model, Encoder)
    assert (config.tokens.by, config.tokens.order) == ("factor", "stream")


def test_dataset_follows_the_environment() -> None:
    assert load("train", ["env=walker"]).dataset.window == 32
    assert load("train", ["env=walker", "dataset=maze2d_medium"]).dataset.window == 20


def test_order_is_defaults_groups_tuned_paper_debug_command_line() -> None:
    bet = ["env=pointmass1", "masking=bet"]
    assert load("train", ["env=pointmass1"]).experiment.batch_size == 256  # defaults
    assert load("train", ["model=decoder", "masking=gpt"]).model.n_embd == 72  # group
    tuned = load("train", bet)
    assert (tuned.model.n_embd, tuned.experiment.batch_size, tuned.dataset.window) == (20, 64, 2)  # tuned over group
    assert tuned.optimizer.weight_decay == 1e-4
    paper = load("train", ["paper=bet/pointmass1"])
    assert paper.optimizer.weight_decay == 0.1  # paper over group
    assert load("train", ["paper=unimask/doorkey_lite"]).experiment.num_steps == 10000  # paper over tuned (3000)
    assert load("train", ["paper=unimask/doorkey_lite", "debug=fast"]).experiment.num_steps == 20
    assert load("train", ["paper=unimask/doorkey_lite", "debug=fast", "experiment.num_steps=7"]).experiment.num_steps == 7


def test_tuned_values_follow_a_model_that_replaces_the_partner() -> None:
    assert load("train", ["env=doorkey", "masking=unimask"]).experiment.num_steps == 3000
    other = load("train", ["env=doorkey", "masking=unimask", "model=autoencoder", "tokens=per_factor"])
    assert other.experiment.num_steps == 10000


@pytest.mark.parametrize("env", ["blockpush", "kitchen"])
def test_schemes_meet_on_equal_terms_where_a_multirun_compares_them(env: str) -> None:
    found = {m: load("train", [f"env={env}", f"masking={m}"]) for m in ("unimask", "maskdp", "gpt", "bet", "vqbet", "cbet")}
    for config in found.values():
        assert config.dataset.generate == found["bet"].dataset.generate
        assert config.dataset.split == found["bet"].dataset.split
        assert (config.experiment, config.optimizer, config.scheduler) == (
            found["bet"].experiment,
            found["bet"].optimizer,
            found["bet"].scheduler,
        )
    assert found["maskdp"].dataset.normalise["action"] == "minmax"  # its actions end in tanh
    assert found["gpt"].dataset.normalise["action"] == "standard"
    published = load("train", [f"paper=bet/{env}"])
    assert published.dataset.normalise["action"] == "none"
    assert not published.dataset.generate.options.get("action_noise")


@pytest.mark.parametrize(
    ("name", "env", "model", "steps"),
    [
        ("unimask/doorkey_lite", "doorkey", Encoder, 10000),
        ("maskdp/goal_quick", "walker", Autoencoder, 9000),
        ("maskdp/pretrain", "walker", Autoencoder, 400010),
        ("bet/pointmass1", "pointmass1", Decoder, None),
    ],
)
def test_papers_select_their_parts(name: str, env: str, model: type, steps: int | None) -> None:
    config = load("train", [f"paper={name}"])
    assert config.env.name == env
    assert isinstance(config.model, model)
    assert steps is None or config.experiment.num_steps == steps


def test_paper_numbers_are_those_of_the_specifications() -> None:
    bet = load("train", ["paper=bet/pointmass1"])
    assert (bet.model.n_layer, bet.model.n_head, bet.model.n_embd) == (1, 2, 20)
    assert (bet.optimizer.lr, bet.optimizer.betas, bet.optimizer.decay) == (1e-4, (0.9, 0.95), "linear")
    assert (bet.experiment.num_prior_epochs, bet.dataset.window, bet.head.action.num_bins) == (10, 2, 3)
    tiny = load("train", ["paper=maskdp/goal_quick"])
    assert (tiny.model.n_embd, tiny.model.n_head, tiny.model.n_enc_layer, tiny.model.n_dec_layer) == (64, 4, 2, 1)
    assert (tiny.dataset.window, tiny.experiment.batch_size, tiny.optimizer.lr) == (32, 64, 1e-3)
    assert (tiny.head.state.target, tiny.head.action.tanh, tiny.head.net) == ("l2", True, "norm_relu")
    full = load("train", ["paper=maskdp/pretrain"])
    assert (full.model.n_embd, full.model.n_head, full.model.n_enc_layer, full.model.n_dec_layer) == (256, 4, 3, 2)
    assert (full.dataset.window, full.experiment.batch_size, full.optimizer.lr) == (64, 384, 1e-4)
    lite = load("train", ["paper=unimask/doorkey_lite"])
    assert (lite.model.norm, lite.model.activation, lite.model.hidden, lite.model.dropout) == ("post", "relu", "zero", 0.1)
    assert (lite.scheduler.name, lite.optimizer.lr) == ("constant", 1e-4)
    assert (lite.dataset.split.train, lite.experiment.batch_size, lite.trainer.grad_clip) == (500, 100, 0.5)


def test_single_task_is_chosen_by_name_and_validated_alone() -> None:
    config = load("train", ["masking=single", "masking.train.name=goal"])
    assert isinstance(config.masking.train, NamedTask)
    assert (config.masking.train.name, config.masking.tasks) == ("goal", ("goal",))


def test_multitask_holds_a_named_task_each() -> None:
    scheme = load("train", ["masking=multitask"]).masking.train
    assert isinstance(scheme, Mixture)
    assert {n: getattr(s, "name", None) for n, s in scheme.schemes.items()} == {n: n for n in scheme.schemes}
    assert len(scheme.schemes) == 8


def test_known_command_lines_of_the_originals_compose() -> None:
    config = load("train", ["env=pointmass1", "experiment.num_prior_epochs=1"])
    assert config.experiment.num_prior_epochs == 1
    assert load("train", ["experiment.record_video=True", "trainer=ddp"]).trainer.strategy == "ddp"


def test_keys_that_the_schema_has_and_no_file_sets_need_no_plus() -> None:
    config = load("train", ["masking=multitask", "masking.train.schemes.bc.tiled=false"])
    assert config.masking.train.schemes["bc"].tiled is False


def test_multirun_is_split_into_its_jobs() -> None:
    with opened(FOLDER):
        assert jobs("train", ["env=doorkey,walker", "experiment.seed=range(0,2)"]) == [
            ["env=doorkey", "experiment.seed=0"],
            ["env=doorkey", "experiment.seed=1"],
            ["env=walker", "experiment.seed=0"],
            ["env=walker", "experiment.seed=1"],
        ]


def test_search_is_checked_by_samples() -> None:
    with opened(FOLDER):
        found = jobs("train", ["sweep=optuna", "model.n_layer=choice(1,2)"])
    assert ["sweep=optuna", "optimizer.lr=1e-05", "experiment.batch_size=64", "model.n_layer=1"] in found
    assert ["sweep=optuna", "optimizer.lr=1e-05", "experiment.batch_size=256", "model.n_layer=1"] in found


def test_null_switches_an_optional_group_off() -> None:
    assert load("train", ["tuned=null"]).experiment.num_steps == 10000
    assert load("train", ["paper=null", "debug=null"]).experiment.num_steps == 3000


def test_schemes_of_gpt_are_causal() -> None:
    assert isinstance(load("train", ["masking=gpt"]).masking.train, CausalMask)


@pytest.mark.parametrize(
    ("masking", "model", "first", "shown"),
    [
        ("decision_gpt", ("relu", True, "none"), "maskbench.masking.causal.CausalMask", "first"),
        ("decision_transformer", ("relu", True, "learned"), "maskbench.masking.causal.CausalMask", "all"),
    ],
)
def test_decision_models_are_those_of_the_specification(masking: str, model: tuple, first: str, shown: str) -> None:
    config = load("train", ["env=maze2d_medium_pomdp", f"masking={masking}"])
    assert (config.model.activation, config.model.embed_norm, config.model.timesteps) == model
    assert (config.model.positions, config.model.final_norm, config.model.init) == ("learned", True, "normal")
    assert (config.masking.train.target, config.masking.train.returns) == (first, shown)
    assert (config.tokens.by, config.tokens.order, config.tokens.inputs) == ("factor", "time", ("return", "state", "action"))
    assert config.dataset.returns.with_time  # [rtg, t / 1000]
    published = ["masking.train.returns=first", "dataset.returns.with_time=false"]
    changed = load("train", ["env=maze2d_medium_pomdp", f"masking={masking}", *published])
    assert (changed.masking.train.returns, changed.dataset.returns.with_time) == ("first", False)


def test_gpt_learns_by_random_masks_and_is_asked_every_task() -> None:
    config = load("train", ["masking=gpt_random"])
    assert config.masking.train.attention == "causal"
    assert isinstance(config.model, Decoder)
    assert config.masking.tasks == load("train", ["masking=unimask"]).masking.tasks


@pytest.mark.parametrize(
    "overrides",
    [
        ["masking=past", "model=decoder", "tokens=interleaved_returns", "masking.train.attend=causal"],
        ["masking=span", "model=decision_gpt", "tokens=interleaved_returns", "masking.train.attend=causal"],
        ["masking=unimask", "masking.returns=none"],
        ["masking=bc", "masking.train.at=last"],
        ["masking=single", "masking.train.name=goal", "masking.train.at=second_last"],
        ["masking=multitask", "model=mlp", "tokens=per_factor"],
        ["masking=unimask", "model.timesteps=learned"],
        ["masking=gpt", "masking.returns=all_half", "env=walker"],
        ["masking=gpt", "model=mlp"],
        ["masking=gpt_random", "model=lstm"],
        ["masking=bet", "env=blockpush", "model=lstm", "head=mdn"],
        ["masking=vqbet", "env=blockpush", "model=lstm", "head.action.vq.sequential=true"],
        ["masking=cbet", "env=kitchen", "model=lstm"],
        ["masking=goal", "env=blockpush", "tokens=observation", "head=bins"],
        ["masking=bet", "env=kitchen", "head=vqbet", "head.action.vq.offsets_only_after=0.5"],
        ["masking=bet", "env=blockpush", "model=mlp", "model.norm=batch", "experiment.window_size=1"],
        ["masking=bc", "env=blockpush", "model=mlp", "tokens=observation", "head=bins"],
    ],
)
def test_baselines_and_options_compose(overrides: list[str]) -> None:
    load("train", overrides)


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        (["masking=past", "model=decoder"], "bidirectional; .*masking.train.attend=causal"),
        (["masking=multitask", "model=decoder"], "the decoder is causal, but Mixture is bidirectional"),
        (["masking=gpt_random", "model=encoder"], "needs model=decoder, lstm or mlp"),
        (["dataset.sampling.goal_frames=1"], "bidirectional models learn goals by masking=goal"),
        (["masking=gpt", "dataset.sampling.goal_frames=1"], "none of returns"),
        (["masking=bc", "head=vqbet", "head.action.vq.chunk=2", "env=pointmass1"], "need a causal scheme"),
        (["masking=unimask", "model=lstm"], "the lstm is causal, but BernoulliMask is bidirectional"),
        (["masking=multitask", "masking.train.schemes.bc.attend=causal"], "cannot hold causal and bidirectional"),
        (["masking=goal", "masking.train.at=last"], "masking.train.at: task 'goal' asks nothing at the last timestep"),
        (["masking=unimask", "masking.returns=frist"], "Did you mean 'first'"),
        (["masking=maskdp", "env=walker", "masking.returns=first"], "tokens.inputs has only state, action"),
        (["masking.returns=all", "dataset.returns.mode=none", "masking.tasks=[bc]"], "dataset.returns.mode is none"),
        (["masking=decision_transformer", "env=walker", "env.horizon=1200"], "model.max_timesteps.*env.horizon=1200"),
    ],
)
def test_baselines_and_options_that_do_not_fit_are_refused(overrides: list[str], found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        load("train", overrides)


def test_runs_from_before_some_options_still_load(tmp_path: Path) -> None:
    from maskbench.app.config.decode import decode
    from maskbench.app.config.schema import TrainConfig

    run = saved_run(tmp_path, ["masking=bc"])
    node = OmegaConf.to_container(OmegaConf.load(run / ".hydra" / "config.yaml"))
    del node["masking"]["returns"], node["masking"]["train"]["at"], node["masking"]["train"]["attend"]
    del node["model"]["timesteps"], node["model"]["max_timesteps"], node["trainer"]["stack_seeds"], node["metrics"]
    del node["dataset"]["sampling"]["goal_frames"], node["dataset"]["sampling"]["goal_drop"]
    for key in ("top_k", "top_p", "spread", "offsets", "commit_steps", "commit_legacy", "action_batch", "references"):
        del node["query"][key]
    for role in ("action", "state", "return"):
        del node["head"][role]["standardise_bins"], node["head"][role]["std_floor"]
    config = decode(TrainConfig, OmegaConf.to_container(OmegaConf.create(node), resolve=True))
    assert (config.masking.returns, config.model.timesteps, config.metrics.version) == (None, "none", "paper")
    assert (config.query.commit_steps, config.dataset.sampling.goal_frames, config.head.action.vq.chunk) == (1, 0, 1)


def test_composition_twice_in_one_process_is_independent() -> None:
    with opened(FOLDER):
        first = compose("train", ["experiment.seed=1"], FOLDER).config
        second = compose("train", [], FOLDER).config
    assert (first.experiment.seed, second.experiment.seed) == (1, 0)


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.yaml")), ids=lambda p: p.relative_to(FOLDER).as_posix())
def test_every_file_says_what_it_is_and_explains_every_value(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("# @package")]
    assert lines[0].startswith("# ")
    if path.relative_to(FOLDER).parts[0] == "hydra":
        return
    previous, in_defaults = "", False
    for line in path.read_text().split("\nhydra:")[0].splitlines():
        in_defaults = line.startswith("defaults:") or (in_defaults and line.startswith("  - "))
        scalar = re.match(r"\s*[\w.]+: *[^\s#{]", line)
        explained = "# " in line or previous.lstrip().startswith("#") or "_target_" in line
        assert in_defaults or not scalar or explained, f"'{line.strip()}' has no comment"
        previous = line


def test_evaluation_takes_environment_and_window_from_the_run(tmp_path: Path) -> None:
    run = saved_run(tmp_path, ["env=pointmass2", "env.snap=false", "experiment.window_size=3", "masking=bet"])
    config = load("run_on_env", [f"model.load_dir={run}", "query=goal", "env.noise_scale=0.1"])
    assert (config.env.name, config.env.snap, config.env.noise_scale) == ("pointmass2", False, 0.1)
    assert config.experiment.name == "eval_pointmass2"
    assert config.dataset.window == 3
    assert load("eval", [f"model.load_dir={run}"]).part == "test"
    assert load("run_on_env", [f"model.load_dir={run}", "env=pointmass1"]).env.name == "pointmass1"


def test_resume_takes_over_the_command_line_of_the_run(tmp_path: Path) -> None:
    run = saved_run(tmp_path, ["env=walker", "optimizer.lr=0.01", "experiment.num_steps=5"])
    config = load("train", [f"resume={run}", "experiment.num_steps=9"])
    assert (config.env.name, config.optimizer.lr, config.experiment.num_steps) == ("walker", 0.01, 9)


@pytest.mark.parametrize("name", ["bc", "waypoint", "future", "past", "inverse_dynamics_action"])
def test_evaluation_asks_every_task_by_name_and_none_by_default(tmp_path: Path, name: str) -> None:
    run = saved_run(tmp_path, ["env=doorkey"])
    assert load("eval", [f"model.load_dir={run}"]).query is None
    assert load("eval", [f"model.load_dir={run}", f"query={name}"]).query.name == name


def test_tasks_and_a_query_are_not_asked_together(tmp_path: Path) -> None:
    run = saved_run(tmp_path, ["env=doorkey"])
    with pytest.raises(ConfigError, match="give either tasks or query"):
        load("eval", [f"model.load_dir={run}", "query=bc", "tasks=[goal]"])


def test_a_finetuning_run_can_be_resumed_but_not_restarted_elsewhere(tmp_path: Path) -> None:
    start = saved_run(tmp_path / "start", ["env=walker"])
    run = saved_run(tmp_path / "tuned", ["env=walker", f"model.load_dir={start}"])
    config = load("train", [f"resume={run}"])
    assert (config.resume, config.model.load_dir) == (str(run), str(start))
    with pytest.raises(ConfigError, match="Give one of them"):
        load("train", [f"resume={run}", f"model.load_dir={start}"])


def test_a_finetuning_run_goes_on_from_its_own_checkpoint_where_its_start_is_gone(tmp_path: Path) -> None:
    start = saved_run(tmp_path / "start", ["env=walker"])
    run = saved_run(tmp_path / "tuned", ["env=walker", f"model.load_dir={start}"])
    start.rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"model.load_dir: the folder .* does not exist"):
        load("train", [f"resume={run}"])
    (run / "checkpoints" / "last").mkdir(parents=True)
    assert load("train", [f"resume={run}"]).resume == str(run)


def test_as_many_seeds_start_from_a_folder_of_seeds_as_it_holds(tmp_path: Path) -> None:
    plain = saved_run(tmp_path, ["env=walker", "experiment.num_cv_runs=2"])
    seeds = [saved_run(tmp_path / f"cv_{i}", ["env=walker"]) for i in range(2)]
    assert [start_of_seed(str(plain), i, 2) for i in range(2)] == [str(s) for s in seeds]
    assert [start_of_seed(str(seeds[1]), i, 3) for i in range(3)] == [str(seeds[1])] * 3
    assert load("train", [f"model.load_dir={plain}", "experiment.num_cv_runs=2"]).experiment.num_cv_runs == 2
    for number in (1, 3):
        with pytest.raises(ConfigError, match=f"holds 2 seeds; found experiment.num_cv_runs={number}"):
            load("train", [f"model.load_dir={plain}", f"experiment.num_cv_runs={number}"])


def test_a_run_of_several_seeds_is_evaluated_whole_or_by_index(tmp_path: Path) -> None:
    saved_run(tmp_path, ["env=walker", "experiment.num_cv_runs=2"])
    seeds = [saved_run(tmp_path / f"cv_{i}", ["env=walker"]) for i in range(2)]
    for command in ("eval", "run_on_env"):
        for given in ([], ["experiment.cv_run_idx=all"]):
            config = load(command, [f"model.load_dir={tmp_path}", *given])
            assert (config.model.load_dir, config.env.name) == (str(tmp_path), "walker")
        assert load(command, [f"model.load_dir={tmp_path}", "experiment.cv_run_idx=1"]).model.load_dir == str(seeds[1])
        assert load(command, [f"model.load_dir={seeds[1]}", "experiment.cv_run_idx=0"]).model.load_dir == str(seeds[1])
        with pytest.raises(ConfigError, match=r"cv_run_idx=2.*\[0, 1\]"):
            load(command, [f"model.load_dir={tmp_path}", "experiment.cv_run_idx=2"])
    assert load("train", ["experiment.num_cv_runs=2", "experiment.cv_run_idx=1"]).experiment.cv_run_idx == 1
    with pytest.raises(ConfigError, match="has 0 to 1"):
        load("train", ["experiment.num_cv_runs=2", "experiment.cv_run_idx=2"])


@pytest.mark.parametrize(("setting", "says"), [("trainer=ddp", "trainer=ddp"), ("trainer.profile=true", "trainer.profile")])
def test_seeds_are_stacked_only_where_they_can_be(setting: str, says: str) -> None:
    settings = [setting, "experiment.num_cv_runs=2"]
    with pytest.raises(ConfigError, match=f"trainer.stack_seeds.*{says}"):
        load("train", [*settings, "trainer.stack_seeds=true"])
    assert load("train", settings).trainer.stack_seeds == "auto"
    assert load("train", [setting, "trainer.stack_seeds=true"]).experiment.num_cv_runs == 1


def test_evaluation_without_a_run_is_refused() -> None:
    with pytest.raises(ConfigError, match="load_dir is missing"):
        load("eval")


def test_runs_of_different_worlds_cannot_be_evaluated_in_one_sweep(tmp_path: Path) -> None:
    a, b = saved_run(tmp_path / "a", ["env=walker"]), saved_run(tmp_path / "b", ["env=doorkey"])
    with pytest.raises(ConfigError, match="share environment"):
        load("eval", [f"model.load_dir={a},{b}"])


def saved_run(folder: Path, overrides: list[str]) -> Path:
    """A folder as Hydra leaves it."""
    from hydra import compose as hydra_compose

    with opened(FOLDER):
        node = hydra_compose("train", overrides)
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save(node, folder / ".hydra" / "config.yaml")
    OmegaConf.save(overrides, folder / ".hydra" / "overrides.yaml")
    return folder


@pytest.mark.parametrize(
    ("regime", "steps", "batch", "sizes", "state"),
    [
        ("bc", 3000, 250, (2, 4, 32, 128), 0.1),
        ("return", 15000, 50, (3, 4, 32, 128), 1),
        ("goal", 6000, 250, (3, 8, 128, 128), 1),
        ("waypoint", 6000, 250, (3, 8, 128, 128), 1),
        ("past", 4000, 250, (4, 4, 32, 128), 0.5),
        ("future", 4000, 250, (2, 4, 128, 32), 0.5),
        ("forward_dynamics", 3000, 250, (3, 8, 128, 128), 1),
        ("inverse_dynamics", 15000, 50, (3, 8, 128, 128), 0.5),
        ("multitask", 20000, 250, (3, 4, 32, 128), 1),
        ("random", 50000, 100, (2, 8, 128, 128), 1),
    ],
)
def test_unimask_gridworld_runs_are_those_of_table_3_6(
    regime: str, steps: int, batch: int, sizes: tuple[int, ...], state: float
) -> None:
    config = load("train", [f"paper=unimask/doorkey/{regime}"])
    model = config.model
    assert (config.experiment.num_steps, config.experiment.batch_size) == (steps, batch)
    assert (model.n_layer, model.n_head, model.n_embd, model.n_inner) == sizes
    assert config.masking.weights.get("state", 1) == state
    assert config.masking.weights["return"] == 0
    assert len(config.masking.tasks) == 8
    assert (config.dataset.split.train, config.optimizer.lr, config.trainer.grad_clip) == (500, 1e-4, 0.5)
