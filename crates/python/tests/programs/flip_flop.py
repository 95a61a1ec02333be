"""Two chains of calls, one after the other, for ever. The innermost function
notes in the file given that it runs: which chain, and which turn."""
import mmap
import sys

DEPTH = 20

with open(sys.argv[1], "r+b") as file:
    note = mmap.mmap(file.fileno(), 2)


def leaf_a(turn):
    note[1] = turn & 255
    note[0] = 1
    for _ in range(1500):
        pass
    note[0] = 0


def leaf_b(turn):
    note[1] = turn & 255
    note[0] = 2
    for _ in range(1500):
        pass
    note[0] = 0


def down_a(turn, depth):
    if depth > 1:
        other_a(turn, depth - 1)
    else:
        leaf_a(turn)


def other_a(turn, depth):
    if depth > 1:
        down_a(turn, depth - 1)
    else:
        leaf_a(turn)


def down_b(turn, depth):
    if depth > 1:
        other_b(turn, depth - 1)
    else:
        leaf_b(turn)


def other_b(turn, depth):
    if depth > 1:
        down_b(turn, depth - 1)
    else:
        leaf_b(turn)


def main():
    print("ready", flush=True)
    turn = 0
    while True:
        turn += 1
        down_a(turn, DEPTH)
        turn += 1
        down_b(turn, DEPTH)


main()
