"""Large data through a whole call: shared in, shared out, gone afterwards."""

import gc
import threading
from pathlib import Path

import numpy as np
import pytest

from parallelcfg import Parallel, TaskNotPicklable, delayed


def total(array):
    return float(array.sum())


def overwrite(array):
    array[0] = 1


def count(array):
    array[0] += 1
    return float(array[0])


@pytest.mark.parametrize("array", [np.zeros(10), np.zeros(10_000)], ids=["small", "large"])
def test_what_a_task_writes_into_a_copy_no_other_batch_sees(backend, array):
    parallel = Parallel(n_jobs=2, backend=backend, batch_size=1, max_nbytes=1000, mmap_mode="c")
    assert parallel(delayed(count)(array) for _ in range(6)) == [1] * 6
    assert array[0] == 0


def folder_of(array):
    folder = Path(array.filename).parent
    return folder, len(list(folder.iterdir()))


@pytest.fixture(params=["loky", "multiprocessing"])
def backend(request):
    return request.param


def test_writing_to_a_read_only_argument_says_what_to_do(backend):
    with pytest.raises(ValueError, match="read-only") as caught:
        Parallel(n_jobs=2, backend=backend, max_nbytes=100)([delayed(overwrite)(np.zeros(1000))])
    told = str(caught.value.__cause__) + "\n".join(caught.value.__notes__)
    assert "set mmap_mode='c' for private writable copies" in told


def test_the_files_of_finished_batches_go_before_the_call_ends(backend, tmp_path):
    """Arguments that nobody holds any longer take no room: forty of them never stand there at once."""
    arrays = (np.full(10_000, float(i)) for i in range(40))
    seen = Parallel(n_jobs=2, backend=backend, max_nbytes=1000, batch_size=1, temp_folder=str(tmp_path))(
        delayed(folder_of)(array) for array in arrays
    )
    gc.collect()
    assert max(count for _, count in seen) <= 12
    assert not any(folder.exists() for folder, _ in seen)


def test_an_unpicklable_argument_is_named_by_its_path(backend):

    with pytest.raises(TaskNotPicklable, match=r"args\[0\]\['lock'\]") as caught:
        Parallel(n_jobs=2, backend=backend)([delayed(total)({"lock": threading.Lock()})])
    assert "task 0" in str(caught.value)


def test_a_changed_array_is_captured_anew_by_every_call(backend):
    array = np.zeros(10_000)
    with Parallel(n_jobs=2, backend=backend, max_nbytes=1000) as parallel:
        for value in range(3):
            array[:] = value
            assert parallel([delayed(total)(array)] * 2) == [value * 10_000.0] * 2
