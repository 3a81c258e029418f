"""Runs the handler in a cold process, as drive.mjs does."""
import json
import os
import resource
import sys
import time

bucket, prefix, warm = sys.argv[1], sys.argv[2], int(sys.argv[3])
begun = time.perf_counter()
from handler import handler  # noqa: E402

import_ms = (time.perf_counter() - begun) * 1000


def name(number):
    return "object" if prefix == "object" else "s/%09d" % number


def carry(number):
    answer = handler({"bucket": bucket, "object": name(number)}, None)
    if answer["statusCode"] != 200:
        raise SystemExit(json.dumps(answer))


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) * 1000


carry(os.getpid() % 10000)
cpu_ms = []
for number in range(warm):
    before = cpu()
    carry(10000 + (os.getpid() % 1000) * 80 + number)
    cpu_ms.append(cpu() - before)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"importMs": import_ms, "cpuMs": cpu_ms, "totalCpuMs": cpu(), "peakMiB": peak}))
