"""Memory for a file of 5 GB, of which little is needed, and for 10 million bins of 192 units, which are mapped."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import subprocess
import tempfile
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np

N_UNITS, N_SPIKES, DURATION_S = 192, 10_000_000, 10_000.0
RAW_SHAPE = (13_500_000, N_UNITS)  # int16: 5.2 GB


def write(path: Path) -> None:
    """A session of 10 million spikes beside raw voltage of 5 GB, whose room on disk is claimed and never filled."""
    from pynwb import NWBHDF5IO, NWBFile
    from pynwb.ecephys import ElectricalSeries

    file = NWBFile(session_description="large", identifier="large", session_start_time=datetime(2026, 1, 1, tzinfo=UTC))
    group = file.create_electrode_group("g", "g", "M1", device=file.create_device(name="probe"))
    for _ in range(N_UNITS):
        file.add_electrode(location="M1", group=group)
    rng = np.random.default_rng(0)
    for _ in range(N_UNITS):
        file.add_unit(spike_times=np.sort(rng.uniform(0, DURATION_S, N_SPIKES // N_UNITS)))
    for start in np.arange(0.0, DURATION_S, 5.0):
        file.add_trial(start_time=float(start), stop_time=float(start) + 4.0)
    electrodes = file.create_electrode_table_region(list(range(N_UNITS)), "all")
    raw = ElectricalSeries(name="raw", data=np.zeros((2, N_UNITS), np.int16), electrodes=electrodes, rate=1350.0)
    file.add_acquisition(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pynwb's opinions on how to write files are not measured here
        with NWBHDF5IO(path, "w") as writer:
            writer.write(file, cache_spec=False)
    with h5py.File(path, "r+") as written:
        series = written["acquisition/raw"]
        attributes = dict(series["data"].attrs)
        del series["data"]
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple(RAW_SHAPE)
        h5py.h5d.create(series.id, b"data", h5py.h5t.STD_I16LE, space, plan)
        series["data"].attrs.update(attributes)


def bin_file(path: Path, bin_s: float) -> None:
    """Open and bin in this process, and print what it took."""
    from nldisco_core.binning import bin_session
    from nldisco_core.plugins import make

    begun = time.perf_counter()
    dataset = make("dataset", "nwb", {"path": str(path)})
    session = dataset.load(path.stem)
    binned = bin_session(session, bin_s=bin_s, trials="trials")
    seconds, mapped = time.perf_counter() - begun, isinstance(binned.activity.base, np.memmap)
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    peak = next(float(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024
    train = session.spike_times[7]  # type: ignore[index]  # the file has spikes
    first = 1_234
    expected = np.histogram(train, np.arange(first, first + 1001) * bin_s)[0]
    same = bool((binned.activity[first : first + 1000, 7] == expected).all())
    print(peak, seconds, int(same), int(mapped), binned.n_bins, binned.activity.nbytes / 1e9)


def measure(path: Path, bin_s: float) -> list[float]:
    """Peak memory (MB), seconds, right or not, mapped or not, bins and size (GB) of binning in a fresh process."""
    command = [sys.executable, __file__, "--bin", str(path), str(bin_s)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [float(word) for word in said.split()]


def main() -> None:
    if sys.argv[1:2] == ["--bin"]:
        bin_file(Path(sys.argv[2]), float(sys.argv[3]))
        return
    from reporting import announce, conclude

    announce("memory of a fresh process that opens and bins, with everything it imports")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.nwb"
        write(path)
        used = path.stat().st_blocks * 512 / 1e6
        print(f"{path.stat().st_size / 1e9:.2f} GB of file, of which {used:.0f} MB are on disk; {N_SPIKES:,} spikes")
        kept = {}
        for bin_s, most_mb, promise in (
            (0.05, 500, "a file of 5 GB opens and bins with under 500 MB"),
            (0.001, 1000, "10 million bins of 192 units are mapped with under 1 GB"),
        ):
            peak, seconds, same, mapped, n_bins, size = measure(path, bin_s)
            where = "a mapped file" if mapped else "memory"
            bins = f"{n_bins:,.0f} x {N_UNITS} bins of {bin_s * 1e3:g} ms"
            print(f"{bins}: {peak:.0f} MB, {seconds:.1f} s; {size:.2f} GB in {where}")
            kept[promise] = bool(same) and peak < most_mb and (bin_s > 0.01 or bool(mapped))
    conclude(kept)


if __name__ == "__main__":
    main()
