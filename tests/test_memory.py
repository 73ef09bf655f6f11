"""Freed memory is at hand for the next step."""

import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, resource, torch
from maskbench.memory import keep_freed_memory
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
ctypes.CDLL(None).mallopt(-3, 65536)  # every tensor a mapping of its own: the worst that a process can come to
if {keep}:
    keep_freed_memory()
for _ in range(4):
    before = faults()
    tensors = [torch.ones(1 << 18) for _ in range(100)]
    del tensors
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="speaks to glibc")
def test_the_pages_of_freed_tensors_stay() -> None:
    faults = [
        int(subprocess.run([sys.executable, "-c", SCRIPT.format(keep=k)], capture_output=True, text=True, check=True).stdout)
        for k in (False, True)
    ]
    assert faults[0] > 1000 > 100 > faults[1]
