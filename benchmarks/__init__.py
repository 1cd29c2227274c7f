"""Side-by-side timings of parallelcfg, joblib, loky and the standard library: ``python -m benchmarks``."""
