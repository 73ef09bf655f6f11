"""Evaluate a trained run on held-out windows: python eval.py --help"""

from maskbench.app.cli import main

if __name__ == "__main__":
    main("eval")
