"""Threads that each wait at the end of a chain of calls of another shape. Once
they all wait, prints every thread's calls as the interpreter itself sees them,
innermost first, and waits for the end of its input."""
import asyncio
import functools
import sys
import threading
import time

waiting = threading.Semaphore(0)


def block():
    waiting.release()
    time.sleep(1000)


class Shape:
    @classmethod
    def of_class(cls):
        block()

    @staticmethod
    def of_static():
        block()

    @property
    def of_property(self):
        block()

    def method(self):
        def nested():
            class Inner:
                def deep(self):
                    block()

            Inner().deep()

        nested()

    def __call__(self):
        self.method()

    def __len__(self):
        block()
        return 0


def in_lambda():
    (lambda: (lambda x: block())(1))()


def in_comprehension():
    return [[block() for _ in range(2)] for _ in range(2)], {i for i in ()}


def in_generator_expression():
    return sum(x for x in (block() for _ in range(3)))


def numbers():
    yield 1
    block()
    yield 2


def delegating():
    yield 0
    yield from numbers()


def in_generator():
    for _ in delegating():
        pass


async def innermost():
    block()


async def outer():
    await innermost()


async def agen():
    yield 1
    block()


async def over_agen():
    async for _ in agen():
        await asyncio.sleep(0)


def in_coroutine():
    asyncio.run(outer())


def in_async_generator():
    asyncio.run(over_agen())


def in_c_callbacks():
    list(map(lambda x: sorted([2, 1], key=lambda y: functools.reduce(reduced, [1, 2])), [1]))


def reduced(a, b):
    block()


def recursive(depth):
    if depth:
        return recursive(
            depth - 1,
        )
    block()


def in_recursion():
    recursive(300)


def café():
    block()


def 文字():
    café()


def 𠀀𠀁():
    文字()


def compiled():
    exec(compile("\n\ndef inner():\n\n    block()\ninner()", "<été 文>", "exec"), globals())


def over_several_lines():
    values = [
        1,
        2,
    ]
    print(
        *values,
        (
            block()
        ),
        sep="-",
    )


def in_handlers():
    try:
        try:
            raise ValueError(1)
        except ValueError:
            raise KeyError(2)
        finally:
            len(Shape())
    except KeyError:
        pass


def class_body():
    class Local:
        for _ in range(2):
            block()


@functools.wraps(in_lambda)
@functools.lru_cache(None)
def decorated():
    with open("/dev/null"):
        for _ in range(1):
            while True:
                block()


def long_jump():
    x = 0
    x += 1
    if x:


























































































































































        block()


SHAPES = [
    Shape.of_class,
    Shape.of_static,
    lambda: Shape().of_property,
    Shape(),
    in_lambda,
    in_comprehension,
    in_generator_expression,
    in_generator,
    in_coroutine,
    in_async_generator,
    in_c_callbacks,
    in_recursion,
    𠀀𠀁,
    compiled,
    over_several_lines,
    in_handlers,
    class_body,
    decorated,
    long_jump,
]


def name(code):
    return getattr(code, "co_qualname", code.co_name)


def calls(frame):
    while frame:
        yield "%s|%s|%d" % (name(frame.f_code), frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back


def main():
    threads = [threading.Thread(target=shape, daemon=True) for shape in SHAPES]
    for thread in threads:
        thread.start()
    for _ in threads:
        waiting.acquire()
    time.sleep(0.2)
    frames = sys._current_frames()
    out = open(1, "w", encoding="utf-8", closefd=False)
    for thread in threads:
        out.write("%d\t%s\n" % (thread.native_id, "\t".join(calls(frames[thread.ident]))))
    out.write("ready\n")
    out.flush()
    sys.stdin.read()


main()
