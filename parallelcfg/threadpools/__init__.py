"""Inner threads: how many BLAS, OpenMP and other native pools may use inside one task.

`variables` sizes the pools of a process before it starts, `limits` those of a process that runs.
"""
