"""Calls of several shapes, one inside the other, without any module in between.
Prints them as the interpreter itself sees them, innermost first, and waits."""
import sys
import time


def name(code):
    return getattr(code, "co_qualname", code.co_name)


def show():
    frame = sys._getframe(1)
    while frame:
        print("%s|%s|%d" % (name(frame.f_code), frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    print("", flush=True)
    time.sleep(1000)


def café():
    return [show() for _ in range(1)]


def 文字():
    yield 1
    yield café()


async def 𠀀():
    return list(文字())


class Shape:
    def method(self):
        def nested():
            try:
                𠀀().send(None)
            except StopIteration:
                pass

        return max(
            [1, 2],
            key=lambda x: nested(),
        )


Shape().method()
