#!/usr/bin/env python3
"""The order of rows as data/sampler.cpp documents it, written again: prints what tests/data/sampler_test.cpp expects.

SplitMix64; a number below b is the first draw of at least 2**64 mod b, mod b; Fisher-Yates from the end; the state of
(seed, epoch) is mix(first draw of seed + epoch).
"""

MASK = 2**64 - 1


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def draws(state):
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        yield mix(state)


def permutation(size, seed, epoch):
    stream = draws(mix((next(draws(seed)) + epoch) & MASK))
    order = list(range(size))
    for i in range(size, 1, -1):
        value = next(v for v in stream if v >= 2**64 % i)
        order[i - 1], order[value % i] = order[value % i], order[i - 1]
    return order


if __name__ == "__main__":
    # SplitMix64's published first numbers for seed 1234567.
    stream = draws(1234567)
    assert [next(stream) for _ in range(2)] == [6457827717110365317, 3203168211198807973]
    print("rows_for_step(0, {10, 10, 1}):", permutation(10, 1, 0))
    print("rows_for_step(3, {10, 10, 7}):", permutation(10, 7, 3))
