#!/usr/bin/env bash
# A job script for Slurm: `sbatch examples/slurm.sh`. Without Slurm, examples/slurm.py runs it with Slurm's variables
# simulated.
#
#SBATCH --job-name=primes
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=1G
#SBATCH --time=00:05:00

# Nothing here says how many workers to start: n_jobs=-1 means the CPUs that Slurm granted (SLURM_CPUS_PER_TASK),
# not those of the node, and inner threads of NumPy and the like share the same grant.
export PARALLEL_N_JOBS=-1

# Large arrays go to the job's own scratch folder, which Slurm's epilogue clears, where the site has one.
export PARALLEL_TEMP_FOLDER="${SLURM_TMPDIR:-none}"

# A job that hangs would burn its allocation to the end: stop well before --time does.
export PARALLEL_DEADLINE=240

parallelcfg validate || exit 1 # a misspelt variable ends the job here, and not after an hour of work
parallelcfg explain n_jobs     # for the log: how many, and who said so
exec python examples/slurm.py --work
