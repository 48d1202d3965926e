"""Reading ahead and writing behind: order, failures from either side, bounded memory, and threads that end."""

import threading
import time

import pytest

from longconv_audio.pipeline import ahead, behind


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    end = time.monotonic() + 5
    while any(thread.name.startswith("longconv-") for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.01)


def hand_over(items, consume):
    with behind(consume) as put:
        for item in items:
            put(item)


class TestAhead:
    def test_gives_everything_in_order(self):
        assert list(ahead(range(100))) == list(range(100))
        assert list(ahead([])) == []
        assert list(ahead([None, 0])) == [None, 0]

    def test_works_in_another_thread(self):
        (name,) = ahead(threading.current_thread().name for _ in range(1))
        assert name == "longconv-ahead"

    def test_failures_arrive_after_what_came_before(self):
        def items():
            yield 1
            raise ValueError("from the other thread")

        taking = ahead(items())
        assert next(taking) == 1
        with pytest.raises(ValueError, match="from the other thread"):
            next(taking)

    def test_runs_only_a_little_ahead(self):
        made = []

        def items():
            for k in range(1000):
                made.append(k)
                yield k

        taking = ahead(items())
        assert next(taking) == 0
        time.sleep(0.05)
        assert len(made) <= 5
        taking.close()
        assert len(made) < 1000

    def test_is_abandoned(self):
        taking = ahead(range(1000))
        assert [next(taking), next(taking)] == [0, 1]
        taking.close()
        with pytest.raises(StopIteration):
            next(taking)


class TestBehind:
    def test_takes_everything_in_order(self):
        taken = []
        with behind(taken.append) as put:
            for k in range(100):
                put(k)
        assert taken == list(range(100))

    def test_all_is_done_at_the_end(self):
        taken = []

        def slowly(item):
            time.sleep(0.02)
            taken.append(threading.current_thread().name)

        with behind(slowly) as put:
            for k in range(5):
                put(k)
        assert taken == ["longconv-behind"] * 5

    @pytest.mark.parametrize("more", [0, 100])
    def test_failures_arrive(self, more):
        def fail(item):
            raise ValueError(f"item {item}")

        with pytest.raises(ValueError, match="item 7"):
            hand_over([7] + [8] * more, fail)

    def test_failures_of_the_caller_pass(self):
        taken = []

        def items():
            yield 1
            raise KeyError

        with pytest.raises(KeyError):
            hand_over(items(), taken.append)
        assert taken in ([], [1])

    def test_holds_only_a_few(self):
        gate, waiting = threading.Event(), []

        def put_many(put):
            for k in range(50):
                put(k)
                waiting.append(k)

        with behind(lambda _: gate.wait(10)) as put:
            thread = threading.Thread(target=put_many, args=(put,))
            thread.start()
            time.sleep(0.1)
            held = len(waiting)
            gate.set()
            thread.join()
        assert held <= 4
        assert len(waiting) == 50

    def test_both_together_stop_each_other(self):
        made = []

        def items():
            for k in range(10_000):
                made.append(k)
                yield k

        def fail_at_ten(item):
            if item == 10:
                raise OSError("full")

        taking = ahead(items())
        with pytest.raises(OSError, match="full"):
            hand_over(taking, fail_at_ten)
        taking.close()
        assert 10 <= len(made) < 100
