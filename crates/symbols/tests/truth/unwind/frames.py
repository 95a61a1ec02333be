# What gdb says of every thread: its registers and its frames. Run with
# `gdb -batch -p PID -x frames.py`.
import gdb

NAMES = "rax rdx rcx rbx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip".split()

gdb.execute("set backtrace past-main on")
gdb.execute("set backtrace limit 5000")
for thread in sorted(gdb.selected_inferior().threads(), key=lambda thread: thread.ptid[1]):
    thread.switch()
    print("thread", thread.ptid[1])
    for name in NAMES:
        print("register", int(gdb.parse_and_eval("$" + name)) & (2**64 - 1))
    frame, interrupted = gdb.newest_frame(), False
    while frame is not None:
        # A function that was inlined has no frame of its own.
        if frame.type() != gdb.INLINE_FRAME:
            print("frame", frame.pc(), "interrupted" if interrupted else "called", frame.name())
            interrupted = frame.type() == gdb.SIGTRAMP_FRAME
        frame = frame.older()
