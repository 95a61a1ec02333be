# What gdb says of a program: of each thread its registers and its frames. Run
# with `gdb -batch -p PID -x frames.py`, or with `-ex "python STEPS = 1000"`
# before on a program to run: then of its first thread, at each of so many
# instructions after `main` begins.
import gdb

NAMES = "rax rdx rcx rbx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip".split()
# No frames of their own have functions that were inlined, and those that gdb
# infers to have left by a tail call.
VIRTUAL = (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME)


def value(expression):
    return int(gdb.parse_and_eval(expression)) & (2**64 - 1)


def describe(thread):
    print("\nthread", thread.ptid[1])
    for name in NAMES:
        print("register", value("$" + name))
    frame, interrupted = gdb.newest_frame(), False
    newest = frame
    # Go's first functions return to nowhere.
    while frame is not None and frame.pc() != 0:
        if frame.type() not in VIRTUAL:
            trampoline = frame.type() == gdb.SIGTRAMP_FRAME
            # No call leads to a trampoline, nor to what it interrupts.
            exact = interrupted or (trampoline and frame != newest)
            print("frame", frame.pc(), "exact" if exact else "called", frame.name())
            interrupted = trampoline
        frame = frame.older()


def attached():
    for thread in sorted(gdb.selected_inferior().threads(), key=lambda thread: thread.ptid[1]):
        thread.switch()
        describe(thread)


def stepped(steps):
    gdb.execute("break main")
    gdb.execute("run")
    # What was pushed before `main` and a little more.
    top = value("$rsp") + 512
    print("maps", open("/proc/%d/maps" % gdb.selected_inferior().pid).read())
    for _ in range(steps):
        describe(gdb.selected_thread())
        start = value("$rsp")
        print("stack", bytes(gdb.selected_inferior().read_memory(start, top - start)).hex())
        gdb.execute("stepi", to_string=True)
    gdb.execute("kill")


gdb.execute("set backtrace past-main on")
gdb.execute("set backtrace limit 5000")
if "STEPS" in globals():
    stepped(STEPS)
else:
    attached()
