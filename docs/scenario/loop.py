from parallelcfg import Parallel, explain

parallel = Parallel(n_jobs=64)
print(explain("n_jobs", parallel.config))
