import io

from rich.console import Console

from maskbench.training.progress import RunProgress


def test_without_a_terminal_a_long_run_prints_about_twenty_lines():
    out = io.StringIO()
    progress = RunProgress(1000, console=Console(file=out, width=200))
    for step in range(1, 1001):
        progress.step(step)
        progress.row(step, {"train/loss": 0.25, "time/samples_per_second": 5000.0})
    progress.close()
    lines = out.getvalue().splitlines()
    assert 10 <= len(lines) <= 20
    assert lines[-1].startswith("step 1000/1000  loss 0.25  samples/s 5000")


def test_on_a_terminal_there_is_one_bar_with_the_loss():
    out = io.StringIO()
    progress = RunProgress(10, console=Console(file=out, force_terminal=True, width=120))
    progress.row(10, {"train/loss": 0.125})
    progress.close()
    assert "10/10" in out.getvalue()
    assert "loss 0.125" in out.getvalue()
