"""What rests on the shelf is whole, or is stopped."""

from parallelcfg.backends.shelf import PoolSession, Shelf


class Thing:
    """Warm as long as somebody says so."""

    def __init__(self):
        self.whole, self.stopped = True, []

    def usable(self):
        return self.whole

    def stop(self, *, kill, wait=False):
        self.stopped.append(kill)


def rests(thing, shelf, key="key"):
    assert shelf.lease(key, lambda: thing) is thing
    shelf.give_back(key, thing)


def test_a_warm_thing_is_leased_again():
    shelf, thing = Shelf(), Thing()
    rests(thing, shelf)
    assert shelf.lease("key", Thing) is thing
    assert thing.stopped == []


def test_what_broke_while_it_rested_is_stopped_and_replaced():
    shelf, thing = Shelf(), Thing()
    rests(thing, shelf)
    thing.whole = False
    assert shelf.lease("key", Thing) is not thing
    assert thing.stopped == [True]


def test_what_rested_longest_makes_room():
    shelf, things = Shelf(capacity=2), [Thing() for _ in range(3)]
    for number, thing in enumerate(things):
        rests(thing, shelf, number)
    assert [thing.stopped for thing in things] == [[False], [], []]


def test_what_is_given_back_twice_rests_once():
    shelf, thing = Shelf(), Thing()
    rests(thing, shelf)
    shelf.give_back("key", thing)
    assert shelf.lease("key", Thing) is thing
    assert shelf.lease("key", Thing) is not thing


def test_what_its_session_can_not_return_is_stopped():
    shelf, thing = Shelf(), Thing()
    shelf.lease("key", lambda: thing)
    shelf.orphan(thing)
    shelf.clear(wait=False)
    assert thing.stopped == [True]


def test_nothing_is_submitted_to_a_pool_that_was_given_back():
    submitted = []

    class Pool(Thing):
        def submit(self, batch_id, work, done):
            submitted.append(batch_id)

        def abort(self):
            pass

    session = PoolSession(1, object(), Pool)
    session.submit(1, None, None)
    session.abort()
    lost = []
    session.submit(2, None, lambda batch_id, outcome: lost.append(batch_id))
    assert (submitted, lost) == ([1], [2])
