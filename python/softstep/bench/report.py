"""What was measured, as tables: one for each case, and a summary of ratios."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from softstep.bench.contender import BEST, KERNEL, OWN, PEERS, ROOFLINE
from softstep.bench.record import TIMED
from softstep.training.tables import Table

Json = Mapping[str, Any]


def environment_lines(document: Json) -> Iterator[str]:
    """Yield the machine and the settings, a line for each subject."""
    env, settings = document["environment"], document["settings"]
    caches = " ".join(f"{name} {size}" for name, size in env["caches"].items())
    yield f"{env['cpu']}, {env['cpus']} CPUs ({caches}), huge pages: {env['huge_pages']}"
    yield (
        f"{env['isa']}, {env['threads']} threads (from {env['threads_source']}), "
        f"{env['parallel_backend']}, {env['compiler']}, {env['system']}"
    )
    versions = {"python": env["python"], **env["versions"]}
    yield ", ".join(f"{name} {version}" for name, version in versions.items())
    if env["variables"]:
        yield " ".join(f"{name}={value}" for name, value in env["variables"].items())
    if env["threads"] < env["cpus"]:
        yield (
            f"note: softstep uses {env['threads']} of {env['cpus']} CPUs, others may use more: "
            f"--threads {env['threads']} gives everybody the same"
        )
    yield (
        f"up to {settings['repeats']} samples of at least {1e3 * settings['sample_s']:g} ms each, "
        f"{settings['case_s']:g} s a case; load average before: {env['load_average']}"
    )
    for name, reason in document["absent"].items():
        yield f"absent: {PEERS[name].label} ({reason})"


def case_table(case: Json) -> Table:
    """Return the table of one case."""
    own = [entry for entry in own_entries(case) if entry["mode"] == BEST]
    roofline = roofline_of(case)
    header = ["", "way", "median ms", "best ms", "cold ms", "spread", "ns/elem"]
    header += [f"x {entry['detail']}" for entry in own]
    memory = any("peak_bytes" in entry for entry in case["contenders"])
    header += ["of roofline", *(["peak MiB"] if memory else []), "faults", "switches", "error"]
    rows = []
    for entry in case["contenders"]:
        label = f"{entry['library']}, {entry['detail']}"
        if entry["status"] != TIMED:
            rows.append([label, entry["status"], *[""] * (len(header) - 2)])
            continue
        median = entry["median_ms"]
        ratios = [_ratio(median / mine["median_ms"]) for mine in own]
        share = "" if roofline is None else f"{100 * roofline['median_ms'] / median:.0f} %"
        rows.append(
            [
                label,
                entry["mode"],
                _ms(median),
                _ms(entry["best_ms"]),
                "" if entry["cold_ms"] is None else _ms(entry["cold_ms"]),
                f"{100 * entry['spread']:.0f} %",
                f"{entry['ns_per_element']:.3g}",
                *ratios,
                share,
                *([_peak(entry)] if memory else []),
                f"{entry['page_faults_per_call']:.0f}",
                str(entry["involuntary_switches"]),
                f"{entry['error']:.0e}",
            ]
        )
    strong = frozenset(k for k, e in enumerate(case["contenders"]) if e["peer"] == OWN)
    return Table(f"{case['name']}: {case['title']}", header, rows, strong)


def case_notes(case: Json) -> Iterator[str]:
    """Yield what the table has no column for."""
    for entry in case["contenders"]:
        if entry["status"] != TIMED:
            yield f"{entry['status']}: {entry['library']}, {entry['detail']}: {entry['reason']}"
    timed = [entry for entry in case["contenders"] if entry["status"] == TIMED]
    counts = sorted({len(entry["samples_ms"]) for entry in timed})
    if counts:
        yield f"samples of each: {', '.join(map(str, counts))}"
    unsettled = sum(entry["unsettled_samples"] for entry in timed)
    if unsettled:
        yield f"{unsettled} samples began while another thread of this process was busy"
    roofline = roofline_of(case)
    if roofline and "moved_bytes" in roofline:
        rate = roofline["moved_bytes"] / roofline["median_ms"] / 1e6
        yield f"roofline: {roofline['detail']}, {rate:.1f} GB/s"
    if roofline and roofline["detail"] == KERNEL:
        over = [
            f"{entry['detail']} {1e3 * (entry['median_ms'] - roofline['median_ms']):.2f} us"
            for entry in own_entries(case)
        ]
        yield f"calls over the kernel: {', '.join(over)}"
    alone = [
        f"{entry['detail']} {_ms(entry['alone_median_ms'])} ms"
        for entry in own_entries(case)
        if "alone_median_ms" in entry
    ]
    if alone:
        yield f"softstep in a process without peers: {', '.join(alone)}"


def summary_table(cases: Sequence[Json], cold: bool = False) -> Table:
    """Return peer's time over softstep's: a row for each case and way of softstep."""
    key = "cold_ms" if cold else "median_ms"
    names = [name for name in PEERS if any(times_of(case, name, key) for case in cases)]
    peers = [name for name in names if name not in (OWN, ROOFLINE)]
    header = ["", "softstep ms", *[PEERS[name].label for name in peers], "of roofline"]
    rows = []
    for case in cases:
        roofline = roofline_of(case)
        for mine in own_entries(case):
            if mine["mode"] != BEST:
                continue
            cells = [f"{case['name']}, {mine['detail']}", _ms(mine[key])]
            for name in peers:
                cells.append(_both_ways(times_of(case, name, key), mine[key]))
            limit = roofline[key] if roofline else None
            rows.append([*cells, "" if limit is None else f"{100 * limit / mine[key]:.0f} %"])
    title = (
        f"Peer's median time / softstep's, {'cold' if cold else 'warm'}: the peer at its best (as "
        "users write it). Above 1: softstep is faster."
    )
    return Table(title, header, rows)


def closing_lines(document: Json) -> Iterator[str]:
    """Yield what concerns the whole run."""
    yield (
        f"{document['seconds']:.0f} s; CPU time that the hypervisor gave to others meanwhile: "
        f"{document['stolen_seconds']} s"
    )
    if document.get("alone") == "failed":
        yield "the run without peers failed: its times are missing"


def own_entries(case: Json) -> list[Json]:
    """Return softstep's timed entries."""
    return [e for e in case["contenders"] if e["peer"] == OWN and e["status"] == TIMED]


def roofline_of(case: Json) -> Json | None:
    """Return the roofline's entry, if the case has one and it ran."""
    for entry in case["contenders"]:
        if entry["peer"] == ROOFLINE and entry["status"] == TIMED:
            return dict(entry)
    return None


def times_of(case: Json, peer: str, key: str = "median_ms") -> dict[str, float]:
    """Return the fastest median of ``peer`` for each way."""
    times: dict[str, float] = {}
    for entry in case["contenders"]:
        if entry["peer"] == peer and entry["status"] == TIMED and entry[key] is not None:
            mode = entry["mode"]
            times[mode] = min(entry[key], times.get(mode, entry[key]))
    return times


def _both_ways(times: Mapping[str, float], own: float) -> str:
    """Return ``best (as written)``; the best is the faster of the two."""
    if not times:
        return "-"
    best = _ratio(min(times.values()) / own)
    return f"{best} ({_ratio(times['as written'] / own)})" if "as written" in times else best


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _peak(entry: Json) -> str:
    return f"{entry['peak_bytes'] / 2**20:.0f}" if "peak_bytes" in entry else ""


def _ms(value: float) -> str:
    return f"{value:.4f}" if value < 1 else f"{value:.2f}"
