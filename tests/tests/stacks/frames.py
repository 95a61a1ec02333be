# The frames of every thread, innermost first, inlined ones too. Run with
# `gdb -batch -p PID -x frames.py`.
import gdb

gdb.execute("set backtrace past-main on")
gdb.execute("set backtrace past-entry on")
for thread in gdb.selected_inferior().threads():
    thread.switch()
    print("thread", thread.ptid[1])
    frame = gdb.newest_frame()
    while frame is not None:
        print("frame", frame.name())
        frame = frame.older()
