"""The page behind ``--help``: written from the folder of YAML files, without Hydra."""

from __future__ import annotations

from pathlib import Path

from maskbench.errors import ConfigError

INTRODUCTION = {
    "train": """Train a masked trajectory model: an environment, a masking scheme, a model.

  python train.py                                     uniMASK on the key-door gridworld
  python train.py env=pointmass1 masking=bet          another world, another scheme (with its model, tokens and head)
  python train.py masking=single masking.train.name=goal
  python train.py paper=maskdp/goal_quick             a published run, sized for two cores
  python train.py debug=fast                          a whole run in seconds; also debug=overfit, debug=profile
  python train.py -m experiment.seed=0,1,2 masking=unimask,bert
  python train.py -m sweep=optuna launcher=joblib     search sweep.params
  python train.py resume=train_runs/latest            continue an interrupted run
  python train.py model.load_dir=train_runs/latest masking=goal    finetune""",
    "eval": """Losses of a trained model on held-out windows, for every task it was validated on.

  python eval.py model.load_dir=train_runs/latest
  python eval.py model.load_dir=train_runs/latest model.which=last part=validation
  python eval.py model.load_dir=train_runs/latest 'tasks=[bc,goal]' evaluation.num_windows=5000
  python eval.py model.load_dir=train_runs/latest query=waypoint""",
    "run_on_env": """A trained model acts in its environment, asked by mask.

  python run_on_env.py model.load_dir=train_runs/latest
  python run_on_env.py model.load_dir=train_runs/latest query=goal experiment.num_eval_eps=300
  python run_on_env.py model.load_dir=train_runs/latest query=return query.target=3.0
  python run_on_env.py model.load_dir=train_runs/latest query=two_stage
  python run_on_env.py model.load_dir=train_runs/latest experiment.record_video=True
  python run_on_env.py -m model.load_dir=train_runs/latest query.mode=closed,open
  python run_on_env.py env=cooking_level_2 env.split=test policy=random_admissible    text games need no model
  python run_on_env.py env=lantern_house policy=human""",
}

SETTINGS = {
    "train": """  experiment.num_steps=10000        optimiser steps (or experiment.num_prior_epochs=1: passes over the data)
  experiment.batch_size=256         windows per step
  experiment.seed=0                 seeds weights, batches, masks and rollouts
  experiment.device=auto            auto | cpu | cuda | mps
  dataset.path=<folder or file>     recorded episodes instead of generated ones
  dataset.window=10                 timesteps per window
  dataset.unlabelled.fraction=0.9   share of the training episodes that lack actions
  model.n_embd=128 model.n_layer=2  size of the model
  optimizer.lr=1e-4                 learning rate
  trainer.precision=bf16            on CPUs and GPUs that have it
  evaluation.rollout=[bc,goal]      queries by which the trained model acts""",
    "eval": """  model.which=best                  best | last checkpoint
  part=test                         train | validation | test episodes
  tasks=[bc,goal]                   tasks to ask; null = those of the run
  experiment.device=auto            auto | cpu | cuda | mps""",
    "run_on_env": """  experiment.num_eval_eps=100       rollouts
  experiment.num_workers=4          processes that step slow simulators; results do not depend on it
  query=bc                          what is asked; query.mode=open executes one answer to its end
  query.temperature=1.0             of sampled actions; query.greedy=true takes the likeliest
  query.commit_steps=1              steps for which a sampled bin is held; see configs/query/base.yaml for more
  env=<name>                        another environment with the same factors""",
}

RESULTS = {
    "train": "train_runs/train_<env>/<date>/<time>_<id>; with -m one child per job in train_runs/train_<env>/<date>/<time>,\n"
    "  or in train_runs/multirun/<date>/<time> where jobs differ in environment. train_runs/latest is the newest run.",
    "eval": "eval_runs/eval_<env>/<date>/<time>_<id>; with -m one child per job.",
    "run_on_env": "eval_runs/eval_<env>/<date>/<time>_<id>; with -m one child per job.",
}

FLAGS = """  --cfg job                         print the composed configuration and stop (--resolve fills references in)
  -m, --multirun                    one job for every combination of comma-separated values
  --info defaults                   which files make up the configuration
  --config-dir <folder>             a folder of your own options, e.g. <folder>/env/mine.yaml
  --hydra-help                      every flag"""

#: Groups by command; ``hydra`` and files inside option folders are not for direct selection.
GROUPS = {
    "train": "env dataset masking tokens model head optimizer scheduler trainer evaluation query logger "
    "paper sweep launcher debug",
    "eval": "env dataset evaluation sweep launcher",
    "run_on_env": "env dataset query policy sweep launcher",
}


def help_page(command: str, folder: Path) -> str:
    """Everything that a first run needs, as plain text."""
    if command not in INTRODUCTION:
        raise ConfigError(f"no command is called '{command}'")
    groups = "\n".join(f"  {name:<12}{_wrap(options(folder, name))}" for name in GROUPS[command].split())
    return "\n\n".join(
        [
            INTRODUCTION[command],
            f"Often used settings (key=value; every key is explained in the files of {folder})\n{SETTINGS[command]}",
            f"Groups and their options (group=option)\n{groups}",
            f"Flags\n{FLAGS}",
            f"Results\n  {RESULTS[command]}\n",
        ]
    )


def options(folder: Path, group: str) -> list[str]:
    """Options of ``group``, nested ones as ``folder/name``."""
    files = sorted((folder / group).rglob("*.yaml"))
    return [f.relative_to(folder / group).with_suffix("").as_posix() for f in files if f.stem != "base"]


def _wrap(names: list[str], width: int = 96) -> str:
    lines, line = [], ""
    for name in names:
        if line and len(line) + len(name) + 3 > width:
            lines.append(line)
            line = ""
        line = f"{line} | {name}" if line else name
    return f"\n{'':<14}".join([*lines, line])
