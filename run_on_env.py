"""Let a trained run act in its environment: python run_on_env.py --help"""

from maskbench.app.cli import main

if __name__ == "__main__":
    main("run_on_env")
