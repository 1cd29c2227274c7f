"""Objects that a task's arguments share are one object in the task, whatever their size and batch."""

from __future__ import annotations

import datetime as dt
import sys
from types import ModuleType

import numpy as np
import pytest

from parallelcfg import Parallel, delayed
from parallelcfg.core.gathering import columns
from parallelcfg.core.tasks import Batch
from parallelcfg.errors import TaskNotPicklable
from parallelcfg.transport import load, pickling
from parallelcfg.transport.common import Common
from parallelcfg.transport.overlap import Held

LARGE = 10_000


class Node:
    def __init__(self, name):
        self.name = name


class Graph:
    def __init__(self, size, make=Node):
        self.nodes = [make(number) for number in range(size)]
        self.degree = {node: number for number, node in enumerate(self.nodes)}

    def look(self, node):
        return self.degree.get(node, "lost")


def look(graph, node):
    return graph.degree.get(node, "lost")


def look_by_name(node, *, graph):
    return graph.degree.get(node, "lost")


@pytest.fixture
def send(make_sharing):
    """Packs tasks as batches of a call, and runs them as a worker does; also how long the last pickle is."""
    sharing = make_sharing()
    common = Common(sharing)

    def through(*batches):
        results = []
        for number, tasks in enumerate(batches):
            data = common.dumps(columns(0, tasks), user=number)
            calls = Batch.of(*load.loads(data)).calls()
            results += [function(*args, **kwargs) for function, args, kwargs in calls]
        return results, len(data)

    return through


def a_method(graph):
    return [(graph.look, (node,), {}) for node in graph.nodes[:4]]


def an_argument(graph):
    return [(look, (graph, node), {}) for node in graph.nodes[:4]]


def a_keyword(graph):
    return [(look_by_name, (node,), {"graph": graph}) for node in graph.nodes[:4]]


def a_closure(graph):
    return [(lambda node: graph.degree.get(node, "lost"), (node,), {}) for node in graph.nodes[:4]]


def one_closure(graph):
    def inner(node):
        return graph.degree.get(node, "lost")

    return [(inner, (node,), {}) for node in graph.nodes[:4]]


def rows_of_different_length(graph):
    tasks = [(graph.look, (node,), {}) for node in graph.nodes[:4]]
    return [*tasks, (graph.look, (), {"node": graph.nodes[4]})]


TASKS = [a_method, an_argument, a_keyword, a_closure, one_closure, rows_of_different_length]


@pytest.mark.parametrize("size", [20, LARGE])
@pytest.mark.parametrize("tasks", TASKS)
@pytest.mark.parametrize("together", [True, False])
def test_a_dict_finds_its_own_keys(send, size, tasks, together):
    tasks = tasks(Graph(size))
    results, _ = send(tasks) if together else send(*([task] for task in tasks))
    assert results == list(range(len(tasks)))


def test_so_it_does_in_workers():
    graph = Graph(LARGE)
    parallel = Parallel(n_jobs=2, batch_size=1)
    assert parallel(delayed(graph.look)(node) for node in graph.nodes[:6]) == list(range(6))
    assert parallel(delayed(look)(graph, node) for node in graph.nodes[:6]) == list(range(6))


def test_what_comes_with_every_task_may_share_objects_too(send):
    graph = Graph(LARGE)

    def first(other):
        return graph.nodes[0] is other.nodes[0]

    assert send([(first, (graph,), {})], [(first, (graph,), {})])[0] == [True, True]


def test_a_task_sees_what_it_has_done_to_a_shared_object(send):
    def rename(graph, node):
        node.name = "new"
        return graph.nodes[0].name

    graph = Graph(LARGE)
    assert send([(rename, (graph, graph.nodes[0]), {})])[0] == ["new"]


def test_an_array_in_a_list_is_the_array_beside_it(send):
    array = np.zeros(5000)
    data = [array, *range(LARGE)]

    def same(data, array):
        return data[0] is array

    assert send([(same, (data, array), {})] * 2)[0] == [True, True]


def test_objects_that_come_later_are_found(send):
    graph = Graph(LARGE)
    tasks = [(look, (graph, 0), {}), (look, (graph, "text"), {}), *an_argument(graph)]
    assert send(*([task] for task in tasks))[0] == ["lost", "lost", 0, 1, 2, 3]


@pytest.mark.parametrize(
    "make",
    [str, float, lambda number: (number, "text"), lambda number: dt.date.fromordinal(number + 1)],
    ids=["text", "number", "tuple", "date"],
)
def test_values_are_in_both_and_keep_nothing_together(send, make):
    graph = Graph(LARGE, make)
    results, length = send(an_argument(graph))
    assert results == list(range(4))
    assert length < 2000


def test_a_method_is_pickled_once(send):
    graph = Graph(LARGE, str)
    results, length = send([(graph.look, (0,), {})], [(graph.look, (1,), {})])
    assert results == ["lost", "lost"]
    assert length < 2000


def test_a_class_that_travels_by_value_is_one_class_anyway(send):
    class Local:
        table = ()

        def name(self):
            return __class__, type(self)

    tables = {number: Local() for number in range(LARGE)}

    def same(tables, one):
        return type(tables[0]) is type(one) is one.name()[0]

    results, length = send([(same, (tables, Local()), {})])
    assert results == [True]
    assert length < 20_000


def test_such_a_class_is_seen_while_another_thread_imports_numpy(monkeypatch):
    class Local:
        table = ([1],)

    met = []
    pickling.dumps(Local(), met=met)
    monkeypatch.setitem(sys.modules, "numpy", ModuleType("numpy"))
    assert Local.table[0] not in Held(Local(), *met).objects.values()


def test_a_task_that_cannot_be_pickled_leaves_the_others_what_they_have_in_common(send):
    graph = Graph(LARGE, str)
    with pytest.raises(TaskNotPicklable):
        send([(look, (graph, (number for number in ())), {})])
    assert send([(look, (graph, (1, [])[:1]), {})])[1] < 2000
