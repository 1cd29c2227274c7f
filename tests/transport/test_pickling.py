"""Whatever can be pickled is, at the speed that it allows; and what can't be is named."""

import functools
import pickle
import subprocess
import sys
import textwrap
import threading
import time
import types

import cloudpickle
import pytest

from parallelcfg import Parallel, delayed
from parallelcfg.errors import TaskNotPicklable
from parallelcfg.transport import pickling
from parallelcfg.transport.culprit import culprit


def _run(code):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_builtin_payloads_are_what_the_c_pickler_makes():
    payload = tuple((i, str(i), {"k": [i]}) for i in range(100))
    assert pickling.dumps(payload) == pickle.dumps(payload, pickling.PROTOCOL)


def test_cloudpickle_is_not_imported_for_what_does_not_need_it():
    _run("""
        import sys, fractions
        from parallelcfg.transport import pickling, load, reduce
        data = pickling.dumps([1, {"a": len}, fractions.Fraction(1, 2), fractions.gcd if 0 else sys.intern])
        assert load.loads(data)[1]["a"] is len
        for name in ("cloudpickle", "numpy", "pydantic", "ctypes", "tempfile"):
            assert name not in sys.modules, name
    """)


def test_functions_and_classes_of_the_main_module_travel_by_value():
    data = _run("""
        import sys
        from parallelcfg.transport import pickling

        FACTOR = 3
        def triple(x):
            return FACTOR * x
        class Point:
            def __init__(self, x):
                self.x = x
            def __eq__(self, other):
                return self.x == other.x
        print(pickling.dumps([triple, Point(2), Point]).hex())
    """)
    triple, point, cls = pickling.loads(bytes.fromhex(data))
    assert triple(4) == 12
    assert point == cls(2)


def test_cached_functions_of_the_main_module_travel_by_value():
    data = _run("""
        import functools
        from parallelcfg.transport import pickling

        @functools.lru_cache(maxsize=5)
        def double(x):
            return 2 * x
        print(pickling.dumps(double).hex())
    """)
    double = pickling.loads(bytes.fromhex(data))
    assert double(4) == double(4) == 8
    assert double.cache_info()[:3] == (1, 1, 5)


def test_generic_functions_of_the_main_module_travel_by_value():
    data = _run("""
        import functools
        from parallelcfg.transport import pickling

        @functools.singledispatch
        def size(x):
            '''How large.'''
            return "?"
        size.unit = "mm"
        @size.register
        def _(x: list):
            return [size(each) for each in x]
        @size.register(int)
        @size.register(float)
        def _(x):
            return x
        class Own:
            pass
        size.register(Own, lambda own: "own")
        def uses(x):
            return size(x)
        print(pickling.dumps([uses, size, Own()]).hex())
    """)
    uses, size, own = pickling.loads(bytes.fromhex(data))
    assert uses([1, 2.0, "x", own, [3]]) == [1, 2.0, "?", "own", [3]]
    assert uses.__globals__["size"] is size
    size.register(str, len)
    assert uses(["four"]) == [4]
    assert (size.__name__, size.__module__, size.__doc__) == ("size", "__main__", "How large.")
    assert (size.unit, size.__wrapped__([])) == ("mm", "?")
    with pytest.raises(TypeError, match=r"^size requires at least 1"):
        size()
    again = pickling.loads(pickling.dumps(size))  # as a worker does that sends it back
    assert again([1, "x"]) == [1, 1]


def test_descriptors_of_functools_travel_with_classes_of_the_main_module():
    data = _run("""
        import functools
        from parallelcfg.transport import pickling

        class Model:
            def __init__(self):
                self.looks = 0
            @functools.cached_property
            def looked(self):
                '''Once.'''
                self.looks += 1
                return Model
            @functools.singledispatchmethod
            def add(self, x):
                return type(x)
            @add.register
            def _(self, x: int):
                return self.looks + x
            @functools.singledispatchmethod
            @classmethod
            def make(cls, x):
                return cls
        Model().add(1)  # some versions keep who has asked
        print(pickling.dumps([Model(), Model.__dict__["looked"]]).hex())
    """)
    model, looked = pickling.loads(bytes.fromhex(data))
    assert model.looked is model.looked is type(model)
    assert (model.add(2), model.add("x"), model.make("x")) == (3, str, type(model))
    assert type(model).looked is looked
    assert looked.__doc__ == "Once."
    assert pickling.loads(pickling.dumps(model)).add(1) == 2


def test_a_generic_function_says_which_of_its_implementations_is_in_the_way():
    @functools.singledispatch
    def generic(x):
        return x

    @generic.register
    def _(x: int, lock=LOCK):
        return lock

    assert culprit(generic, "f") == "f.registry[int].__defaults__[0]"


NAMES_FOR_TYPES = {
    (3, 10): """
        T = typing.TypeVar("T", bound=int)
        P = typing.ParamSpec("P")
        Id = typing.NewType("Id", int)
        names = [T, P, Id]
        def f(x: Id, y: list[T] = [], *args: P.args, **keys: P.kwargs) -> list[Id]:
            return [Id(x)]
    """,
    (3, 11): """
        Ts = typing.TypeVarTuple("Ts")
        names = [Ts]
        def f(x: tuple[typing.Unpack[Ts]]):
            return [x]
    """,
    (3, 12): """
        type Vector[T] = list[T]
        names = [Vector]
        def f(x: Vector[int]):
            return [x]
    """,
}


@pytest.mark.parametrize("since", NAMES_FOR_TYPES, ids=str)
def test_names_for_types_of_the_main_module_travel_by_value(since):
    if sys.version_info < since:
        pytest.skip("this Python has no such names")
    data = _run(f"""
        import typing
        from parallelcfg.transport import pickling
        {NAMES_FOR_TYPES[since]}
        assert pickling.loads(pickling.dumps(names)) == names
        print(pickling.dumps([f, names]).hex())
    """)
    function, names = pickling.loads(bytes.fromhex(data))
    assert function(7) == [7]
    again = pickling.loads(pickling.dumps(names))  # as a worker does that sends them back
    assert [str(name) for name in again] == [str(name) for name in names]
    assert "__main__" in {name.__module__ for name in again}


def test_instances_of_the_main_modules_classes_come_back_as_such():
    _run("""
        import subprocess, sys
        from parallelcfg.transport import pickling, load

        class Point:
            x = 1
        code = "import sys; from parallelcfg.transport import load;" \\
               "p = load.loads(sys.stdin.buffer.read()); p.x = 5;" \\
               "sys.stdout.buffer.write(load.dumps(p, None))"
        sent = pickling.dumps(Point())
        back = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True)
        point = pickling.loads(back.stdout)
        assert type(point) is Point and point.x == 5
    """)


def test_instances_of_the_main_modules_classes_with_slots_come_back_as_such():
    _run("""
        import dataclasses, subprocess, sys, typing
        from parallelcfg.transport import pickling, load

        @dataclasses.dataclass(slots=True)
        class Data:
            x: int = 0
        @dataclasses.dataclass(slots=True, frozen=True)
        class Frozen:
            x: int = 0
        class Text:
            __slots__ = "x"
        class Private(typing.Generic[typing.TypeVar("T")]):
            __slots__ = ("__x", "__weakref__")
            x = property(lambda self: self.__x, lambda self, x: setattr(self, "_Private__x", x))
        class Open(Text):
            __slots__ = ("__dict__",)
        code = "import sys; from parallelcfg.transport import load\\n" \\
               "objects = load.loads(sys.stdin.buffer.read())\\n" \\
               "for each in objects[:-1]: object.__setattr__(each, 'x', 5)\\n" \\
               "assert objects[-1].double() == 10\\n" \\
               "dicts = [hasattr(each, '__dict__') for each in objects]\\n" \\
               "sys.stdout.buffer.write(load.dumps((objects, dicts), None))"
        class Row(typing.NamedTuple):
            x: int = 5
            def double(self):
                return 2 * self.x
        classes = [Data, Frozen, Text, Private, Open, Row]
        sent = pickling.dumps([each() for each in classes])
        back = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True)
        objects, dicts = pickling.loads(back.stdout)
        assert [type(each) for each in objects] == classes and [each.x for each in objects] == [5] * 6
        assert dicts == [hasattr(each, "__dict__") for each in objects] == [False] * 4 + [True, False]
    """)


@pytest.mark.parametrize(
    "make",
    [
        lambda: lambda x: x + 1,
        lambda: functools.partial(lambda a, b: a + b, 1),
        lambda: functools.lru_cache(lambda x: x + 1),
        lambda: types.SimpleNamespace(f=lambda x: x + 1).f,
    ],
)
def test_functions_without_a_name_travel_by_value(make):
    assert pickling.loads(pickling.dumps(make()))(1) == 2


def test_nested_classes_travel_by_value():
    class Local:
        value = 1

    assert type(pickling.loads(pickling.dumps(Local()))).value == 1


def test_modules_registered_by_value_travel_by_value(monkeypatch):
    module = types.ModuleType("not_on_workers")
    exec("def f(x): return x + 1", module.__dict__)
    monkeypatch.setitem(sys.modules, "not_on_workers", module)
    assert pickling.loads(pickling.dumps(module.f)) is module.f
    cloudpickle.register_pickle_by_value(module)
    try:
        data = pickling.dumps([module.f])
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    monkeypatch.delitem(sys.modules, "not_on_workers")
    assert pickling.loads(data)[0](1) == 2


def test_functions_without_a_module_travel_by_value():
    def f():
        return 7

    f.__module__ = None
    f.__qualname__ = "f"
    assert pickling.loads(pickling.dumps(f))() == 7


def _nameless(function):
    return lambda *args: (function.__name__, *args[1:])


class Base:
    def greet(self):
        return "base"


class Derived(Base):
    def greet(self):
        return "derived"

    @_nameless
    def decorated(self):
        """Has another function's name."""

    def __private(self):
        return LOCK.locked()  # can't be pickled, and need not be

    @classmethod
    def __of_class(cls):
        return cls, LOCK.locked()

    def methods(self):
        return {
            "own": (self.greet, "derived"),
            "of the base": (super().greet, "base"),
            "decorated": (self.decorated, ("decorated",)),
            "private": (self.__private, False),
            "private, of the class": (self.__of_class, (Derived, False)),
        }


@pytest.mark.parametrize("beside", [None, lambda: None], ids=["by name", "by value"])
@pytest.mark.parametrize("which", Derived().methods())
def test_bound_methods_are_the_same_there(which, beside):
    method, answer = Derived().methods()[which]
    assert pickling.loads(pickling.dumps([method, beside]))[0]() == answer


def test_methods_that_are_found_by_their_name_travel_as_before():
    method = Derived().greet
    assert pickling.dumps(method) == pickle.dumps(method, pickling.PROTOCOL)


def test_what_only_cloudpickle_knows_is_pickled():
    view = memoryview(b"abc")
    assert pickling.loads(pickling.dumps({1: 2}.keys() | view.tolist()))
    assert pickling.loads(pickling.dumps(types.MappingProxyType({1: 2}))) == {1: 2}


def test_a_store_is_asked_again_when_pickling_starts_over():
    class Counting:
        begun = 0

        def begin(self):
            self.begun += 1
            return {complex: lambda number: (str, (f"{number.real}",))}, None

    store = Counting()
    assert pickling.loads(pickling.dumps([1j, 2], store=store)) == ["0.0", 2]
    assert store.begun == 1
    assert pickling.loads(pickling.dumps([2 + 1j, lambda: 0], store=store))[0] == "2.0"
    assert store.begun == 3


class Slotted:
    __slots__ = ("inner",)

    def __init__(self, inner):
        self.inner = inner


class Stateful:
    def __init__(self, inner):
        self._inner = inner

    def __getstate__(self):
        return [self._inner]

    def __setstate__(self, state):
        (self._inner,) = state


class Raising:
    def __reduce__(self):
        raise KeyError("not me")


class Dict(dict):
    pass


def _attributed(obj, **attributes):
    for name, value in attributes.items():
        setattr(obj, name, value)
    return obj


def _closure(captured):
    return lambda: captured


LOCK = threading.Lock()

CULPRITS = [
    (lambda: LOCK, "args"),
    (lambda: ({"lock": LOCK},), "args[0]['lock']"),
    (lambda: [1, (2, {3: [LOCK]})], "args[1][1][3][0]"),
    (lambda: {("a", 1): LOCK}, "args[<tuple>]"),
    (lambda: {"k" * 100: LOCK}, "args['" + "k" * 36 + "...]"),
    (lambda: {_closure(LOCK): 1}, "args.keys()[0].<closure>['captured']"),
    (lambda: {LOCK}, "args.item(<lock>)"),
    (lambda: Slotted(LOCK), "args.inner"),
    (lambda: Stateful(LOCK), "args.__getstate__()[0]"),
    (lambda: Slotted([0, Slotted(LOCK)]), "args.inner[1].inner"),
    (Raising, "args"),
    (lambda: [Raising()], "args[0]"),
    (lambda: _attributed(Dict(a=1), lock=LOCK), "args.lock"),
    (lambda: Dict(lock=LOCK), "args['lock']"),
    (lambda: _closure([LOCK]), "args.<closure>['captured'][0]"),
    (lambda: _attributed(_closure(1), lock=LOCK), "args.lock"),
    (lambda: functools.partial(print, 1, LOCK), "args.args[1]"),
    (lambda: functools.partial(print, end=LOCK), "args.keywords['end']"),
    (lambda: functools.partial(_closure(LOCK)), "args.func.<closure>['captured']"),
    (lambda: Slotted(LOCK).__init__, "args.__self__.inner"),
    (lambda: (i for i in ()), "args"),
    (lambda: [(i for i in ())], "args[0]"),
    (lambda: ValueError("text", LOCK), "args.__reduce__()[1][1]"),
]


@pytest.mark.parametrize(("make", "path"), CULPRITS, ids=[path for _, path in CULPRITS])
def test_the_culprit_is_named(make, path):
    with pytest.raises(TaskNotPicklable) as caught:
        pickling.dumps(make(), name="args")
    assert str(caught.value).startswith(f"can't pickle {path}: ")
    assert caught.value.__cause__ is not None


def test_culprits_in_functions_of_the_main_module_are_named():
    out = _run("""
        import threading
        from parallelcfg.transport.culprit import culprit
        LOCK = threading.Lock()
        def f(x, y=LOCK): return x
        def g(): return [LOCK for _ in range(3)]
        def h(*, z=LOCK): return z
        for function in (f, g, h):
            print(culprit(function, function.__name__))
    """)
    assert out.split() == ["f.__defaults__[0]", "g.__globals__['LOCK']", "h.__kwdefaults__['z']"]


def test_nobody_is_a_culprit_in_what_can_be_pickled():
    assert culprit([1, lambda: 2]) is None


def test_nobody_looks_for_the_culprit_who_was_not_asked():
    with pytest.raises(TaskNotPicklable, match=r"^can't be pickled: cannot pickle '_thread.lock' object$"):
        pickling.dumps([LOCK], name=None)


def test_the_search_ends_in_time():
    class Slow:
        def __reduce__(self):
            time.sleep(0.02)
            return int, ()

    begin = time.monotonic()
    path = culprit([[Slow() for _ in range(20)], LOCK], "x", seconds=0.01)
    assert path is not None
    assert path.startswith("x")
    assert time.monotonic() - begin < 5


def test_deep_nesting_is_an_error_and_no_crash():
    nested = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(TaskNotPicklable, match="recursion"):
        pickling.dumps(nested)


class Deep:
    """What a pickler meets at the end of the stack."""

    def __reduce__(self):
        raise RecursionError("maximum recursion depth exceeded")


@pytest.mark.parametrize(("name", "said"), [("args", "can't pickle args"), (None, "can't be pickled")])
def test_a_stack_that_is_too_short_is_told_and_blamed_on_nobody(name, said):
    with pytest.raises(TaskNotPicklable) as caught:
        pickling.dumps([abs, Deep()], name=name)
    assert str(caught.value) == (
        f"{said}: it is nested too deep, or the call is made too deep in the stack; "
        "sys.setrecursionlimit allows more"
    )


def test_a_task_for_which_the_stack_is_too_short_says_so():
    with pytest.raises(TaskNotPicklable, match=r"^task 1, abs\(.*can't pickle it: .*sys\.setrecursionlimit"):
        Parallel(n_jobs=2)([delayed(abs)(1), delayed(abs)(Deep())])


def test_cycles_are_searched_too():
    cycle = {"lock": LOCK}
    cycle["self"] = [cycle]
    assert culprit(cycle, "x") in {"x['lock']", "x"}


def test_running_out_of_memory_is_told_as_such():
    class Huge:
        def __reduce__(self):
            raise MemoryError

    with pytest.raises(MemoryError):
        pickling.dumps(Huge())


def test_the_way_to_a_culprit_goes_no_rounds():
    class Knot:
        pass

    one, other = Knot(), Knot()
    one.other, other.other = other, one
    other.lock = threading.Lock()
    assert culprit(one, "one") == "one.other.lock"
    other.other, other.lock = (one, one), None
    one.guard = threading.Lock()
    assert culprit(other, "other") == "other.other[0].guard"


def test_code_knows_its_file_and_so_does_the_code_inside_of_it():
    def outer():
        return lambda: None

    there = pickling.loads(pickling.dumps(outer))
    assert {there.__code__.co_filename, there().__code__.co_filename} == {__file__}
    assert there.__code__.co_firstlineno == outer.__code__.co_firstlineno
