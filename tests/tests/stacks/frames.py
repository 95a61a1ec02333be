# The frames of every thread, innermost first, inlined ones too. Functions that
# left by a jump have none; gdb adds them where only one can have been there.
# Run with `gdb -batch -p PID -x frames.py`.
import gdb

gdb.execute("set backtrace past-main on")
gdb.execute("set backtrace past-entry on")
for thread in gdb.selected_inferior().threads():
    thread.switch()
    print("thread", thread.ptid[1])
    frame = gdb.newest_frame()
    while frame is not None:
        if frame.type() != gdb.TAILCALL_FRAME:
            print("frame", frame.name() or "?")
        frame = frame.older()
