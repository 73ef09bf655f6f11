"""Train a masked trajectory model: python train.py --help"""

from maskbench.app.cli import main

if __name__ == "__main__":
    main("train")
