"""A batch job: as many workers as the scheduler granted, whatever the node has.

    sbatch examples/slurm.sh        on a cluster
    python examples/slurm.py        anywhere: runs the same script with Slurm's variables simulated

The job script asks for ``n_jobs=-1``. On a node of 64 CPUs that grants two of them, that means two:
`cpu_count()` reads what Slurm, Grid Engine, LSF or PBS say, and affinity and cgroup limits besides.
"""

from __future__ import annotations

import os
import subprocess
import sys
from math import isqrt
from pathlib import Path

from parallelcfg import Parallel, cpu_count, delayed

HERE = Path(__file__).resolve().parent
GRANT = 2


def count_primes(start: int, stop: int) -> int:
    """The work of one task."""
    return sum(all(n % d for d in range(2, isqrt(n) + 1)) for n in range(max(2, start), stop))


def work() -> None:
    """What the job is for."""
    loop = Parallel()
    found = sum(loop(delayed(count_primes)(start, start + 1000) for start in range(0, 20_000, 1000)))
    print(f"{found:,} primes, {loop.effective_n_jobs} workers, {cpu_count()} CPUs granted")


def simulate() -> None:
    """Run the job script as Slurm would, with the variables that it sets."""
    slurm = {
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NAME": "primes",
        "SLURM_CPUS_PER_TASK": str(GRANT),
        "SLURM_CPUS_ON_NODE": "64",
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environ = {**os.environ, **slurm, "PATH": path}
    subprocess.run(["bash", HERE / "slurm.sh"], env=environ, cwd=HERE.parent, check=True)


if __name__ == "__main__":
    if "--work" in sys.argv:
        work()
    else:
        simulate()
