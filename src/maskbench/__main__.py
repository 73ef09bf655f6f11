"""``python -m maskbench``: data, collect, masks, text, encode, doctor, metrics, report. To train and play: train.py ..."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from maskbench.app.data_commands import data_root
from maskbench.app.text_game_cli import text_app
from maskbench.errors import MaskbenchError

app = typer.Typer(
    name="maskbench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Look after data, collect data, look at masks, encode states, check the installation, draw reports. "
    "To train: python train.py --help",
)
data = typer.Typer(no_args_is_help=True, help="Episode stores: list, generate, import, fetch, verify, show.")
masks = typer.Typer(no_args_is_help=True, help="Masking schemes, drawn.")
app.add_typer(data, name="data")
app.add_typer(masks, name="masks")
app.add_typer(text_app, name="text")

Overrides = Annotated[list[str], typer.Argument(help="settings as for train.py, e.g. env=doorkey")]
Root = Annotated[Path, typer.Option("--root", help="folder of stores", default_factory=data_root)]


@data.command("list")
def data_list(root: Root) -> None:
    """Published data sets and local stores."""
    from maskbench.app.data_commands import list_data

    list_data(root)


@data.command("generate")
def data_generate(overrides: Overrides) -> None:
    """Episodes of an environment's own expert, as train.py would make them."""
    from maskbench.app.data_commands import generate

    generate(overrides)


@data.command("import")
def data_import(
    path: Annotated[Path, typer.Argument(help="file or folder in a published format")],
    root: Root,
    format: Annotated[str, typer.Option(help="format name; auto asks every importer")] = "auto",
    name: Annotated[str | None, typer.Option(help="name of the new store")] = None,
) -> None:
    """Turns recorded episodes into a store."""
    from maskbench.app.data_commands import import_data

    import_data(path, format, name, root)


@data.command("fetch")
def data_fetch(name: Annotated[str, typer.Argument(help="name from 'data list'")], root: Root) -> None:
    """Downloads a published data set."""
    from maskbench.app.data_commands import fetch_data

    fetch_data(name, root)


@data.command("export")
def data_export(
    path: Annotated[Path, typer.Argument(help="folder of a store")],
    name: Annotated[str, typer.Argument(help="Minari id of the new data set: namespace/name-v0")],
) -> None:
    """Writes a store as a Minari data set ($MINARI_DATASETS_PATH, else Minari's own folder)."""
    from maskbench.app.data_commands import export_data

    export_data(path, name)


@data.command("export-tree")
def data_export_tree(
    path: Annotated[Path, typer.Argument(help="folder of a store of dm_control episodes")],
    root: Annotated[Path, typer.Argument(help="folder of the new tree: <root>/<domain>/<quality>/<task>/episode_*.npz")],
    domain: Annotated[str, typer.Option(help="walker | cheetah | quadruped")] = "walker",
    task: Annotated[str, typer.Option(help="task of episodes that do not say theirs")] = "walk",
    quality: Annotated[
        Literal["expert", "sup", "semi", "unsup"], typer.Option(help="of episodes that do not say theirs")
    ] = "expert",
) -> None:
    """Writes a store in the format of MaskDP and ExoRL."""
    from maskbench.app.data_commands import export_tree

    export_tree(path, root, domain, task, quality)


@data.command("verify")
def data_verify(
    path: Annotated[Path, typer.Argument(help="a store, a folder of stores, or a tree of episode_<index>_<length>.npz")],
    task: Annotated[
        str | None, typer.Option(help="whose rewards to expect in a tree, e.g. walker_run; by default its folder's")
    ] = None,
    every: Annotated[int, typer.Option(help="in a tree, check each so many rows", min=1)] = 1,
) -> None:
    """Stores: every file against its recorded hash, and every value. Trees of episodes: simulates them again."""
    from maskbench.app.data_commands import verify

    verify(path, task, every)


@data.command("relabel")
def data_relabel(
    path: Annotated[Path, typer.Argument(help="a tree of episode_<index>_<length>.npz with physics")],
    out: Annotated[Path, typer.Argument(help="folder of the relabelled episodes")],
    task: Annotated[str, typer.Option(help="task whose rewards they get, e.g. walker_run or run")],
) -> None:
    """Recorded ExoRL episodes with the rewards of another task."""
    from maskbench.app.data_commands import relabel

    relabel(path, out, task)


@data.command("show")
def data_show(target: Annotated[list[str], typer.Argument(help="path of a store, or settings such as env=doorkey")]) -> None:
    """Factors, statistics and origin of a store."""
    from maskbench.app.data_commands import show

    show(target)


@app.command("collect", no_args_is_help=True)
def collect_command(
    overrides: Annotated[list[str], typer.Argument(help="settings as for train.py: env=walker task=walk agent=td3 ...")],
) -> None:
    """Collects data as ExoRL does: an agent learns online, its episodes become files that MaskDP trains on.

    env=walker|cheetah|quadruped, task=<task of the domain>, agent=td3|proto|rnd|icm_apt, learner=cpu|paper;
    configs/collect.yaml explains every key. td3 leaves its replay (sup) and episodes of its best weights (expert); an
    explorer leaves unsup, with agent.bonus=0.5 semi. The same command goes on with an interrupted run. Examples:

    collect env=walker task=walk agent=td3 stop_return=930

    collect env=cheetah agent=rnd num_steps=200000

    collect env=quadruped task=jump agent=proto agent.bonus=0.5 learner=paper
    """
    from maskbench.app.collect import collect
    from maskbench.training.interrupt import Interrupted

    try:
        collect(overrides)
    except Interrupted as signal:
        typer.echo(f"maskbench: {signal}", err=True)
        raise typer.Exit(130) from None


@masks.command("show")
def masks_show(
    overrides: Annotated[list[str], typer.Argument(help="settings as for train.py, e.g. masking=waypoint env=doorkey")],
    rows: Annotated[int, typer.Option(help="masks to draw", min=1)] = 3,
    seed: Annotated[int, typer.Option(help="seed of the draws")] = 0,
    save: Annotated[Path | None, typer.Option(help="also write this SVG file")] = None,
) -> None:
    """Which cells a scheme shows and asks, and which token looks at which."""
    from maskbench.app.mask_commands import show

    show(overrides, rows, seed, save)


@app.command("encode")
def encode_command(
    overrides: Annotated[list[str], typer.Argument(help="settings as for eval.py: model.load_dir=<run>, dataset.path=...")],
    roles: Annotated[str, typer.Option(help="what the encoder sees: state, or state,action")] = "state",
    steps: Annotated[int, typer.Option(help="timesteps that it sees, the current one included", min=1)] = 1,
    out: Annotated[Path | None, typer.Option(help="name of the .npz and .json; by default inside the run folder")] = None,
) -> None:
    """A trained model's representation of every recorded timestep (npz and card), for other learners.

    In Python: maskbench.models.encode.FrozenEncoder(model.network, model.normaliser), model = app.experiment.load_model(run).
    """
    from maskbench.app.encode import encode

    encode(overrides, roles.split(","), steps, out)


@app.command("doctor")
def doctor_command() -> None:
    """Checks the installation and says what to mend."""
    from rich.console import Console

    from maskbench.app.doctor import doctor

    raise typer.Exit(doctor(Console()))


@app.command("report")
def report_command(run_dir: Annotated[Path, typer.Argument(help="folder of a run or a multirun")]) -> None:
    """Writes an HTML page about a run, or about each of its seeds beside a table of their means and spread; the tables and the
    figure of a multirun."""
    from maskbench.reports.html import write_report
    from maskbench.reports.seeds import seed_runs, write_seeds
    from maskbench.reports.sweep import write_sweep

    if (run_dir / "multirun.yaml").is_file():
        write_sweep(run_dir)
        typer.echo("\n".join(str(p) for p in sorted(run_dir.glob("summary.*"))))
        return
    seeds = seed_runs(run_dir)
    for folder in seeds or [run_dir]:
        typer.echo(write_report(folder))
    if seeds:
        write_seeds(run_dir)
        typer.echo(run_dir / "seeds.md")


@app.command("metrics")
def metrics_command(
    run_dir: Annotated[Path, typer.Argument(help="folder of a run or an evaluation that holds rollouts")],
    version: Annotated[
        Literal["paper", "strict", "repstudy_legacy"], typer.Option(help="whose definitions; see configs/metrics")
    ] = "paper",
) -> None:
    """Judges recorded rollouts again, by any definition; writes evaluation/metrics_<version>.csv and .json."""
    from maskbench.app.measure import show_metrics
    from maskbench.reports.seeds import seed_runs

    for folder in seed_runs(run_dir) or [run_dir]:
        show_metrics(folder, version)


def main() -> None:
    """Entry point: a mistake of the user is one paragraph on stderr and exit code 2."""
    try:
        app()
    except MaskbenchError as error:
        typer.echo(f"maskbench: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
