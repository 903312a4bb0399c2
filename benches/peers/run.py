#!/usr/bin/env python3
"""pondsql beside DuckDB, Polars, DataFusion's Python package and deltalake: the same data, the same questions, in turn.

    python3 benches/peers/run.py --pondsql target/release/pondsql            # 20 M rows, 10,000 files
    python3 benches/peers/run.py --pondsql target/release/pondsql --scale 100 --only hour

It installs the peers of requirements.txt from PyPI in a virtual environment and makes the data, both kept for the next
run. Answers are compared before anything is timed, and a difference ends it. Each question goes to pondsql and the peers
in turn, --runs times, all of them on two processors with two threads. The table is in Markdown; ratios are medians, peer ÷
pondsql, so that more than 1 means that pondsql is faster.

What is timed:

- *in a session*: from asking to having the whole answer, in a process that has answered the question once before. Of
  pondsql this is from writing the statement to its standard input until `\\timing` says on standard error that it is done,
  pipes and printing included; of a peer the call in its own process.
- *new process*: of pondsql, the whole process. Of a peer, from its first call to its answer, without the interpreter's
  start and the imports; `ratio, whole` has those too.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import hashlib
import io
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
THREADS = 2
#: What `--memory 200MB` may take at most, in MB: 1.3 × the limit, and 100.
MEMORY_BAR = 1.3 * 200 + 100
SERIES_VERSIONS = 20
ROWS_PER_FILE = 200
ENTRY_DIRECTORIES = 100
SET_THREADS = f"SET datafusion.execution.target_partitions = {THREADS}"


# ---------------------------------------------------------------- questions


@dataclass(frozen=True)
class Peer:
    label: str
    engine: str
    #: SQL; for Polars an expression over `pl`. `{t}` is the table at `path`.
    ask: str
    path: str = ""
    #: What it is told once, before it is asked; in a session that is not timed.
    first: str = ""
    #: The ratio that pondsql wants to reach, peer ÷ pondsql; or else its own time, in milliseconds.
    bar: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Question:
    name: str
    #: Which data it needs: the name of a pond, and of a function of `Data`.
    data: str
    pond: str
    peers: tuple[Peer, ...]
    new_process: bool = False
    #: Only the names in the first column of the answer count, in any order.
    names_only: bool = False
    #: SQL that reads the files that both sides wrote, as `{file}`; that is the answer then.
    read_back: str = ""
    with_little_memory: bool = False


def questions(data: Data) -> list[Question]:
    return in_series(data) + in_views(data) + in_locs(data) + in_fleet(data) + in_hours(data) + in_entries(data)


def in_series(data: Data) -> list[Question]:
    series, files = "'/s.series'", f"read_parquet('{data.path}/series/*.parquet')"
    scan = f"pl.scan_parquet('{data.path}/series/*.parquet')"

    def everywhere(name: str, sql: str, duckdb: str, polars: str) -> Question:
        return Question(
            f"{data.rows:,} rows in 20 versions, {name}, in a session",
            "series",
            sql.format(t=series),
            (
                Peer("DataFusion", "datafusion", sql, f"{data.path}/series/", bar=1 / 1.02),
                Peer("DuckDB", "duckdb", duckdb.format(t=files)),
                Peer("Polars", "polars", polars.format(scan=scan)),
            ),
            with_little_memory=True,
        )

    aggregate = "SELECT count(*), avg(temp), max(level), sum(sensor) FROM {t}"
    resample = (
        "SELECT count(*), sum(t), max(t), sum(l) FROM "
        "(SELECT {hour} AS h, avg(temp) AS t, avg(level) AS l FROM {{t}} GROUP BY 1) AS hours"
    )
    one_percent = "SELECT count(*), avg(temp) FROM {t} WHERE level < 0.01"
    view = "SELECT ts, sensor AS s, temp * 1.8 + 32 AS fahrenheit, level"
    return [
        everywhere(
            "three-column aggregate",
            aggregate,
            aggregate,
            "{scan}.select(pl.len(), pl.col('temp').mean(), pl.col('level').max(), pl.col('sensor').sum())",
        ),
        everywhere(
            "hourly resample",
            resample.format(hour="date_bin(INTERVAL '1 hour', ts)"),
            resample.format(hour="date_trunc('hour', ts)"),
            "{scan}.group_by(pl.col('ts').dt.truncate('1h')).agg(t=pl.col('temp').mean(), l=pl.col('level').mean())"
            ".select(n=pl.len(), t=pl.col('t').sum(), m=pl.col('t').max(), l=pl.col('l').sum())",
        ),
        everywhere(
            "filter on 1 %",
            one_percent,
            one_percent,
            "{scan}.filter(pl.col('level') < 0.01).select(pl.len(), pl.col('temp').mean())",
        ),
        Question(
            "bytes of a derived file, as Parquet, new process",
            "series",
            "\\get /fahrenheit.parquet out/pond.parquet",
            (Peer("DuckDB `COPY`", "duckdb", f"COPY ({view} FROM {files}) TO '{data.path}/out/peer.parquet'", bar=1),),
            new_process=True,
            read_back="SELECT count(*), sum(s), sum(fahrenheit), sum(level), epoch_us(min(ts)), epoch_us(max(ts)) FROM '{file}'",
            with_little_memory=True,
        ),
    ]


#: Views, each of the one before, and the first of the series.
VIEWS = (
    ("one", "SELECT ts, sensor, temp * 1.8 + 32 AS temp, level FROM {t} WHERE sensor < 12"),
    ("two", "SELECT ts, sensor, temp - 32 AS temp, level FROM {t} WHERE level < 0.9"),
    ("three", "SELECT ts, sensor AS s, temp / 1.8 AS celsius, level FROM {t}"),
)


def in_views(data: Data) -> list[Question]:
    files = f"read_parquet('{data.path}/series/*.parquet')"
    # In DuckDB views that its session has, in DataFusion the same as one query: its Python package reads one statement at a time.
    below = [files, *(name for name, _ in VIEWS)]
    views = "; ".join(f"CREATE VIEW {name} AS {sql.format(t=t)}" for (name, sql), t in zip(VIEWS, below))
    below = ["{t}", *(name for name, _ in VIEWS)]
    written_out = "WITH " + ", ".join(f"{name} AS ({sql.format(t=t)})" for (name, sql), t in zip(VIEWS, below))

    def asked(name: str, sql: str, names_only: bool = False) -> Question:
        describe, query = ("DESCRIBE ", sql.removeprefix("DESCRIBE ")) if sql.startswith("DESCRIBE ") else ("", sql)
        return Question(
            f"a view three deep over {data.rows:,} rows, {name}, in a session",
            "views",
            sql.format(t="'/v/three'"),
            (
                Peer("DuckDB", "duckdb", sql.format(t="three"), first=views),
                # Views cost nothing: as fast as the query written out.
                Peer(
                    "DataFusion, written out",
                    "datafusion",
                    f"{describe}{written_out} {query.format(t='three')}",
                    f"{data.path}/series/",
                    bar=None if names_only else 1 / 1.05,
                ),
            ),
            names_only=names_only,
        )

    # Which rows a LIMIT takes is for each to choose; that they are rows of the view can be compared.
    is_of_it = "s < 12 AND level < 0.9 AND celsius > 0 AND ts IS NOT NULL"
    return [
        asked("aggregate", "SELECT count(*), avg(celsius), max(level) FROM {t}"),
        asked("filter", "SELECT s, count(*), avg(celsius) FROM {t} WHERE level < 0.01 AND s = 3 GROUP BY s"),
        asked("projection", "SELECT max(celsius) FROM {t}"),
        asked("`LIMIT`", f"SELECT count(*) FILTER (WHERE {is_of_it}) FROM (SELECT * FROM {{t}} LIMIT 100) AS taken"),
        asked("schema", "DESCRIBE SELECT * FROM {t}", names_only=True),
    ]


#: Uses the capture and a column that one file in ten has.
AVERAGES = (
    "SELECT count(*), sum(n), sum(a), max(a), sum(s) FROM "
    "(SELECT site, count(*) AS n, avg(temp) AS a, avg(salinity) AS s FROM {t} GROUP BY site) AS sites"
)
POLARS_AVERAGES = (
    "{scan}.group_by('site').agg(n=pl.len(), a=pl.col('temp').mean(), s=pl.col('salinity').mean())"
    ".select(sites=pl.len(), n=pl.col('n').sum(), a=pl.col('a').sum(), m=pl.col('a').max(), s=pl.col('s').sum())"
)


def tree(data: Data, name: str) -> tuple[str, str, str]:
    """A tree of files for DuckDB by name, for DuckDB by the first file's schema, and for Polars."""
    files = f"'{data.path}/{name}/*/*.parquet'"
    return (
        f"read_parquet({files}, hive_partitioning = true, union_by_name = true)",
        f"read_parquet({files}, hive_partitioning = true)",
        f"pl.scan_parquet({files}, hive_partitioning=True, missing_columns='insert', extra_columns='ignore')",
    )


def in_locs(data: Data) -> list[Question]:
    glob = "pond('/locs/{site}/t.parquet')"
    by_name, by_first, scan = tree(data, "locs")
    listing = f"{data.path}/locs/"
    one = f"SELECT count(*), avg(temp), max(level) FROM {{t}} WHERE site = '{site(data.files // 2)}'"
    count = "SELECT count(*) FROM {t}"
    rows = f"{data.files:,} × {ROWS_PER_FILE}"

    def peers(sql: str, polars: str, bar: float | None, first: bool = True) -> tuple[Peer, ...]:
        found = [Peer("DuckDB", "duckdb", sql.format(t=by_name), bar=bar)]
        if first:
            found.append(Peer("DuckDB, not by name", "duckdb", sql.format(t=by_first)))
        if polars:
            found.append(Peer("Polars", "polars", polars.format(scan=scan), bar=bar))
        found.append(Peer("DataFusion", "datafusion", sql, listing))
        return tuple(found)

    def described(name: str, new_process: bool) -> Question:
        # Polars takes the schema of the first file for that of all.
        return Question(
            f"{rows}, `DESCRIBE`, {name}",
            "locs",
            f"DESCRIBE SELECT * FROM {glob}",
            (
                Peer("DuckDB", "duckdb", f"DESCRIBE SELECT * FROM {by_name}", bar=20),
                # In a session it has looked at the files before, when the table was registered.
                Peer(
                    "DataFusion" if new_process else "DataFusion, registered before",
                    "datafusion",
                    "DESCRIBE SELECT * FROM {t}",
                    listing,
                ),
            ),
            new_process=new_process,
            names_only=True,
        )

    return [
        Question(
            f"{rows}, averages by capture, new process",
            "locs",
            AVERAGES.format(t=glob),
            peers(AVERAGES, POLARS_AVERAGES, 1, first=False),
            new_process=True,
            with_little_memory=True,
        ),
        described("new process", True),
        described("in a session", False),
        Question(
            f"{rows}, `count(*)`, new process",
            "locs",
            count.format(t=glob),
            peers(count, "{scan}.select(pl.len())", None),
            new_process=True,
        ),
        Question(
            f"{rows}, `WHERE site = 'x'`, new process",
            "locs",
            one.format(t=glob),
            peers(
                one,
                f"{{scan}}.filter(pl.col('site') == '{site(data.files // 2)}')"
                ".select(pl.len(), pl.col('temp').mean(), pl.col('level').max())",
                None,
            ),
            new_process=True,
        ),
    ]


def in_fleet(data: Data) -> list[Question]:
    by_name, _, scan = tree(data, "fleet")
    shape = f"{data.fleet} × {data.fleet} × {ROWS_PER_FILE}"

    def asked(name: str, pond: str, bar: float) -> Question:
        return Question(
            f"{shape}, averages by capture, {name}, new process",
            pond,
            AVERAGES.format(t="pond('/fleet/{site}/t.series')"),
            (
                Peer("DuckDB, unmerged files", "duckdb", AVERAGES.format(t=by_name), bar=bar),
                Peer("Polars, unmerged files", "polars", POLARS_AVERAGES.format(scan=scan)),
            ),
            new_process=True,
        )

    return [asked("before `OPTIMIZE`", "fleet", 1), asked("after `OPTIMIZE`", "fleet_optimized", 10)]


def in_hours(data: Data) -> list[Question]:
    begin = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=3600 * (data.hours // 2) + 1800)
    end = begin + datetime.timedelta(hours=1)
    sql = f"SELECT count(*), avg(temp), max(level) FROM {{t}} WHERE ts >= TIMESTAMP '{begin}' AND ts < TIMESTAMP '{end}'"

    def asked(name: str, new_process: bool) -> Question:
        return Question(
            f"one hour of {data.hours:,} versions, {name}",
            "hours",
            sql.format(t="'/k.series'"),
            (
                Peer("DuckDB, one file", "duckdb", sql.format(t=f"'{data.path}/merged.parquet'"), bar=1 / 1.5),
                Peer("DuckDB, a file a version", "duckdb", sql.format(t=f"'{data.path}/hours/*.parquet'")),
                Peer("Delta table, a file a version", "deltalake", sql, f"{data.path}/hours"),
            ),
            new_process=new_process,
            with_little_memory=new_process,
        )

    return [asked("in a session", False), asked("new process", True)]


def in_entries(data: Data) -> list[Question]:
    # DuckDB's glob() leaves out the directories.
    glob = f"SELECT count(*) + {ENTRY_DIRECTORIES} FROM glob('{data.path}/entries/*/*')"

    def asked(name: str, new_process: bool) -> Question:
        return Question(
            f"`pond_ls('/**')`, {data.entries:,} entries, {name}",
            "entries",
            "SELECT count(*) FROM pond_ls('/**')",
            (Peer("DuckDB `glob()`", "duckdb", glob, most=None if new_process else 50),),
            new_process=new_process,
            with_little_memory=new_process,
        )

    return [asked("in a session", False), asked("new process", True)]


def site(number: int) -> str:
    return f"s{number:05}"


# ---------------------------------------------------------------- data


class Data:
    """What the questions are about, made when first needed and kept."""

    def __init__(self, root: Path, scale: int, pondsql: Path, python: Path):
        self.path = root / f"scale-{scale}"
        self.rows = 20_000_000 // scale // SERIES_VERSIONS * SERIES_VERSIONS
        self.files = max(10_000 // scale, 20)
        self.fleet = math.isqrt(self.files)
        self.hours = max(1_000 // scale, 10)
        self.entries = max(100_000 // scale, 2 * ENTRY_DIRECTORIES)
        self.pondsql, self.python = pondsql, python
        # What another program has stored says nothing of this one.
        made_by, digest = self.path / "made-by", sha256(pondsql)
        if not (made_by.exists() and made_by.read_text() == digest):
            fresh(self.path)
            made_by.write_text(digest)
        (self.path / "out").mkdir(exist_ok=True)

    def pond(self, name: str) -> Path:
        return self.path / "ponds" / name

    def need(self, name: str) -> None:
        made = self.path / f"{name}.made"
        if made.exists():
            return
        say(f"making the data: {name}")
        shutil.rmtree(self.pond(name), ignore_errors=True)
        begun = time.perf_counter()
        getattr(self, f"make_{name}")()
        made.touch()
        say(f"  {time.perf_counter() - begun:.1f} s")

    def make_series(self) -> None:
        """One series of 20 versions, and the Parquet files that they are, under names for the peers."""
        step = self.rows // SERIES_VERSIONS
        view = "SELECT ts, sensor AS s, temp * 1.8 + 32 AS fahrenheit, level FROM '/s.series'"
        inserts = [insert("/s.series", step, number) for number in range(SERIES_VERSIONS)]
        self.run("series", [create("/s.series"), *inserts, f"CREATE VIEW '/fahrenheit.parquet' AS {view}"])
        listed = self.run("series", ["SELECT blake3 FROM pond_versions('/s.series') ORDER BY version"])
        directory = fresh(self.path / "series")
        for number, name in enumerate(listed.split()[-SERIES_VERSIONS:]):
            os.link(self.pond("series") / "_content" / name[:2] / name, directory / f"{number:02}.parquet")

    def make_views(self) -> None:
        """The same series with the views over it."""
        self.need("series")
        shutil.copytree(self.pond("series"), self.pond("views"))
        below = ["'/s.series'", *(f"'/v/{name}'" for name, _ in VIEWS)]
        self.run("views", [f"CREATE VIEW '/v/{name}' AS {sql.format(t=t)}" for (name, sql), t in zip(VIEWS, below)])

    def make_locs(self) -> None:
        """A tree of small files, put into a pond as they are, in one transaction."""
        self.worker("make_locs", files=self.files, rows=ROWS_PER_FILE, fleet=self.fleet)
        self.run("locs", [f"\\put locs/site={site(i)}/t.parquet /locs/{site(i)}/t.parquet" for i in range(self.files)])

    def make_fleet(self) -> None:
        """The same files, a directory for each site; in the pond each is a version of the site's series."""
        self.need("locs")
        script = []
        for i in range(self.fleet):
            series = f"/fleet/{site(i)}/t.series"
            script.append(create(series, "temp DOUBLE, level DOUBLE, salinity DOUBLE"))
            for j in range(self.fleet):
                salinity = "salinity" if (i * self.fleet + j) % 10 == 0 else "NULL"
                file = f"./fleet/site={site(i)}/{j:05}.parquet"
                script.append(f"INSERT INTO '{series}' SELECT ts, temp, level, {salinity} FROM '{file}'")
        self.run("fleet", script)

    def make_fleet_optimized(self) -> None:
        self.need("fleet")
        shutil.copytree(self.pond("fleet"), self.pond("fleet_optimized"))
        self.run("fleet_optimized", ["OPTIMIZE '/fleet/*/t.series'"])

    def make_hours(self) -> None:
        """A version an hour, a row a second; for the peers one sorted file, and a file for each version, a Delta table too."""
        inserts = [insert("/k.series", 3600, number) for number in range(self.hours)]
        self.run("hours", [create("/k.series"), *inserts, "\\get /k.series k.parquet"])
        self.worker("make_hours", versions=self.hours)

    def make_entries(self) -> None:
        """Small Parquet files in the pond, empty ones on the host: what `glob()` does not look into."""
        self.worker("make_entry")
        names = [f"{i % ENTRY_DIRECTORIES:03}/{i:06}.parquet" for i in range(self.entries - ENTRY_DIRECTORIES)]
        self.run("entries", [f"\\put entry.parquet /{name}" for name in names])
        directory = fresh(self.path / "entries")
        for number in range(ENTRY_DIRECTORIES):
            (directory / f"{number:03}").mkdir()
        for name in names:
            (directory / name).touch()

    def run(self, pond: str, script: list[str]) -> str:
        """Runs a script in one transaction."""
        text = "".join(line + ("\n" if line.startswith("\\") else ";\n") for line in script)
        command = [self.pondsql, self.pond(pond), "-1", "--format", "csv", "-f", "-"]
        return checked(subprocess.run(command, input=text, text=True, capture_output=True, cwd=self.path))

    def worker(self, task: str, **arguments: int) -> None:
        command = [self.python, __file__, "--worker", task, json.dumps(arguments)]
        checked(subprocess.run(command, text=True, capture_output=True, cwd=self.path))


def create(path: str, columns: str = "sensor INT, temp DOUBLE, level DOUBLE") -> str:
    return f"CREATE TABLE '{path}' (ts TIMESTAMP(6) NOT NULL, {columns}) ORDER BY ts"


def insert(path: str, rows: int, number: int) -> str:
    return (
        f"INSERT INTO '{path}' SELECT arrow_cast(value * 1000000, 'Timestamp(Microsecond, None)'), (value % 16)::INT, "
        f"10 + 5 * sin(value / 3600.0), random() FROM generate_series({number * rows}, {(number + 1) * rows - 1})"
    )


def fresh(directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def checked(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode != 0:
        stop(f"{done.args} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


# ---------------------------------------------------------------- turns


class Turn(NamedTuple):
    seconds: float
    #: With the start of the process, where there was one.
    whole: float
    answer: list


class Side:
    """One who is asked, again and again."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.peak = 0.0

    def turn(self) -> Turn:
        raise NotImplementedError

    def close(self) -> None:
        pass

    def median(self) -> float:
        return statistics.median(turn.seconds for turn in self.turns)

    def whole(self) -> float:
        return statistics.median(turn.whole for turn in self.turns)

    def shown(self) -> str:
        low, high = min(turn.seconds for turn in self.turns), max(turn.seconds for turn in self.turns)
        return f"{milliseconds(self.median())} ({milliseconds(low)}–{milliseconds(high)})"

    def reap(self, process: subprocess.Popen) -> int:
        """Waits for the process; notes how much memory it had at most."""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        # Kilobytes, on Linux.
        self.peak = max(self.peak, usage.ru_maxrss / 1024)
        return process.returncode


class Process(Side):
    """A new process each time."""

    def __init__(self, command: list, cwd: Path):
        super().__init__()
        self.command, self.cwd = command, cwd

    def run(self) -> tuple[float, int, str, str]:
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            begun = time.perf_counter()
            process = subprocess.Popen(
                self.command, cwd=self.cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
            )
            code = self.reap(process)
            seconds = time.perf_counter() - begun
            texts = []
            for file in (output, errors):
                file.seek(0)
                texts.append(file.read().decode())
        return seconds, code, *texts


class PondProcess(Process):
    def __init__(self, data: Data, question: Question, *options: str):
        command = [data.pondsql, data.pond(question.data), "--format", "csv", *options]
        super().__init__([*command, "-c", SET_THREADS, "-c", question.pond], data.path)

    def turn(self) -> Turn:
        seconds, code, output, errors = self.run()
        if code != 0:
            stop(f"pondsql ended with {code}: {errors}")
        return Turn(seconds, seconds, from_csv(output))


class PeerProcess(Process):
    def __init__(self, data: Data, peer: Peer):
        super().__init__([data.python, __file__, "--worker", "once", json.dumps(vars(peer))], data.path)

    def turn(self) -> Turn:
        seconds, code, output, errors = self.run()
        if code != 0:
            stop(f"{self.command} ended with {code}: {errors}")
        reply = json.loads(output)
        return Turn(reply["seconds"], seconds, reply["answer"])


class PondSession(Side):
    """A `pondsql` that reads its standard input."""

    def __init__(self, data: Data, question: Question):
        super().__init__()
        self.question, self.output = question, tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [data.pondsql, data.pond(question.data), "--format", "csv"],
            cwd=data.path,
            stdin=subprocess.PIPE,
            stdout=self.output,
            stderr=subprocess.PIPE,
        )
        self.ask("\\timing on\n")
        self.ask(f"{SET_THREADS};\n")

    def ask(self, text: str) -> None:
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()
        lines = []
        while not (lines and lines[-1].startswith(b"time: ")):
            lines.append(self.process.stderr.readline())
            if not lines[-1]:
                stop(f"pondsql, asked for {text}, says: {b''.join(lines).decode()}")

    def turn(self) -> Turn:
        begin = os.fstat(self.output.fileno()).st_size
        begun = time.perf_counter()
        self.ask(f"{self.question.pond};\n")
        seconds = time.perf_counter() - begun
        answer = os.pread(self.output.fileno(), 1 << 24, begin).decode()
        return Turn(seconds, seconds, from_csv(answer))

    def close(self) -> None:
        self.process.stdin.close()
        self.reap(self.process)


class PeerSession(Side):
    """A worker that answers each line of its standard input."""

    def __init__(self, data: Data, peer: Peer):
        super().__init__()
        self.process = subprocess.Popen(
            [data.python, __file__, "--worker", "session", json.dumps(vars(peer))],
            cwd=data.path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def turn(self) -> Turn:
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            stop(f"a worker has ended: {self.process.args}")
        reply = json.loads(line)
        return Turn(reply["seconds"], reply["seconds"], reply["answer"])

    def close(self) -> None:
        self.process.stdin.close()
        self.reap(self.process)


def from_csv(text: str) -> list:
    return list(csv.reader(io.StringIO(text.lstrip("\n"))))[1:]


def normal(answer: list, names_only: bool) -> list:
    """An answer in which numbers are numbers, whoever gave it."""

    def value(of: object) -> object:
        try:
            return float(of)
        except (TypeError, ValueError):
            return "" if of is None else str(of)

    rows = [[value(of) for of in row] for row in answer]
    return sorted(row[:1] for row in rows) if names_only else rows


def same(one: object, other: object) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return one == other


# ---------------------------------------------------------------- the run


def measure(data: Data, question: Question, runs: int) -> list[str]:
    """Rows of the table."""
    data.need(question.data)
    if question.new_process:
        pond: Side = PondProcess(data, question)
        peers: list[Side] = [PeerProcess(data, peer) for peer in question.peers]
    else:
        pond = PondSession(data, question)
        peers = [PeerSession(data, peer) for peer in question.peers]
    say(question.name)
    compare(data, question, pond, peers)
    for _ in range(runs):
        for side in [pond, *peers]:
            if question.read_back:
                # What the one before has left to write is not this one's.
                os.sync()
            side.turns.append(side.turn())
    rows = []
    for side in [pond, *peers]:
        side.close()
    for peer, side in zip(question.peers, peers):
        ratio = side.median() / pond.median()
        bar = "" if peer.bar is None else f"≥ {peer.bar:.2f}{'' if ratio >= peer.bar else ' **missed**'}"
        if peer.most is not None:
            bar = f"≤ {peer.most:.0f} ms{'' if pond.median() * 1000 <= peer.most else ' **missed**'}"
        whole = f"{side.whole() / pond.whole():.2f}" if question.new_process else ""
        cells = [question.name, pond.shown(), f"{pond.peak:.0f}", peer.label, side.shown(), f"{side.peak:.0f}"]
        rows.append("| " + " | ".join([*cells, f"**{ratio:.2f}**", bar, whole]) + " |")
        say(rows[-1])
    return rows


def compare(data: Data, question: Question, pond: Side, peers: list[Side]) -> None:
    """Asks each once, which warms the caches too."""
    answers = []
    for name, side in [("pond", pond), *(("peer", peer) for peer in peers)]:
        answer = side.turn().answer
        if question.read_back:
            file = data.path / "out" / f"{name}.parquet"
            say(f"  {name} wrote {file.stat().st_size / 1e6:.0f} MB")
            answer = PeerProcess(data, Peer("", "duckdb", question.read_back.format(file=file))).turn().answer
        answers.append(normal(answer, question.names_only))
    for peer, answer in zip(question.peers, answers[1:]):
        if not answers[0] or not same(answers[0], answer):
            stop(f"{question.name}: pondsql says {answers[0]}, {peer.label} {answer}")


def with_little_memory(data: Data, question: Question) -> str:
    side = PondProcess(data, question, "--memory", "200MB")
    seconds, code, _, errors = side.run()
    said = "finished" if code == 0 else f"exit code {code}: {' '.join(errors.split())[:200]}"
    missed = "" if side.peak <= MEMORY_BAR else " **missed**"
    # Always a new process, whatever the question's name says.
    row = f"| {question.name.rpartition(', ')[0]} | {milliseconds(seconds)} | {side.peak:.0f}{missed} | {said} |"
    say(row)
    return row


def milliseconds(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pondsql", type=Path, required=True, help="the program, a release build")
    parser.add_argument("--scale", type=int, default=1, help="rows and numbers of files are divided by this")
    parser.add_argument("--only", default="", metavar="NAME", help="only the measurements whose name contains this")
    parser.add_argument("--runs", type=int, default=5, help="how often each is asked")
    parser.add_argument("--venv", type=Path, default=HERE / ".venv", help="where the peers are installed")
    parser.add_argument("--data", type=Path, default=HERE / ".data", help="where the data are kept")
    arguments = parser.parse_args()
    # Everything that this starts has them too.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    os.environ.update(POLARS_MAX_THREADS=str(THREADS), TOKIO_WORKER_THREADS=str(THREADS), PYTHONDONTWRITEBYTECODE="1")
    begun = time.perf_counter()
    python = installed(arguments.venv)
    pondsql = arguments.pondsql.resolve()
    data = Data(arguments.data.resolve(), arguments.scale, pondsql, python)
    chosen = [question for question in questions(data) if arguments.only in question.name]
    if not chosen:
        stop(f"no measurement has '{arguments.only}' in its name")
    load = os.getloadavg()[0]
    rows = [row for question in chosen for row in measure(data, question, arguments.runs)]
    little = [with_little_memory(data, question) for question in chosen if question.with_little_memory]
    print(f"{datetime.date.today()}, {machine()}, load {load:.1f} at the start, scale {arguments.scale}, {arguments.runs} runs each,")
    print(f"{versions(pondsql, arguments.venv)}; {(time.perf_counter() - begun) / 60:.1f} minutes in all.\n")
    print("| measurement | pondsql, ms | MB | peer | peer, ms | MB | ratio | bar | ratio, whole |")
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    if little:
        print(f"\n| new process with `--memory 200MB` | ms | peak MB (≤ {MEMORY_BAR:.0f}) | |\n|---|---|---|---|")
        print("\n".join(little))


def installed(venv: Path) -> Path:
    """The interpreter of a virtual environment that has exactly the peers wanted."""
    venv, requirements = venv.resolve(), HERE / "requirements.txt"
    python, stamp = venv / "bin" / "python", venv / "requirements.sha256"
    wanted = sha256(requirements)
    if not (stamp.exists() and stamp.read_text() == wanted):
        say(f"installing the peers in {venv}")
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", requirements], check=True)
        stamp.write_text(wanted)
    return python


def machine() -> str:
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    return f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} virtual cores ({model}), {memory} GiB, Linux {platform.release()}"


def versions(pondsql: Path, venv: Path) -> str:
    own = checked(subprocess.run([pondsql, "--version"], text=True, capture_output=True)).strip()
    peers = ", ".join((HERE / "requirements.txt").read_text().replace("==", " ").splitlines())
    return f"{own} (program {sha256(pondsql)[:8]}…), Python {platform.python_version()}, {peers}"


def sha256(file: Path) -> str:
    # Piece by piece: the most memory that this process has ever had counts for each that it starts.
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def stop(text: str) -> None:
    sys.exit(f"error: {text}")


# ---------------------------------------------------------------- in the virtual environment


class DuckDb:
    def __init__(self) -> None:
        import duckdb

        self.duckdb, self.connection = duckdb, None

    def answer(self, ask: str, _path: str) -> list:
        if self.connection is None:
            self.connection = self.duckdb.connect()
            self.connection.execute(f"SET threads = {THREADS}")
            # As pondsql and DataFusion keep footers.
            self.connection.execute("SET parquet_metadata_cache = true")
        return self.connection.execute(ask).fetchall()


class Polars:
    def __init__(self) -> None:
        import polars

        self.polars = polars

    def answer(self, ask: str, _path: str) -> list:
        return eval(ask, {"pl": self.polars}).collect().rows()  # the expressions of this file


class DataFusion:
    def __init__(self) -> None:
        import datafusion
        import pyarrow

        self.datafusion, self.pyarrow, self.context = datafusion, pyarrow, None

    def answer(self, ask: str, path: str) -> list:
        if self.context is None:
            config = self.datafusion.SessionConfig().with_target_partitions(THREADS)
            self.context = self.datafusion.SessionContext(config)
            captures = [] if path.endswith("/series/") else [("site", self.pyarrow.string())]
            self.context.register_parquet("t", path, table_partition_cols=captures)
        table = self.context.sql(ask.format(t="t")).to_arrow_table()
        return [list(row.values()) for row in table.to_pylist()]


class DeltaLake:
    def __init__(self) -> None:
        import deltalake

        self.deltalake, self.builder = deltalake, None

    def answer(self, ask: str, path: str) -> list:
        if self.builder is None:
            self.builder = self.deltalake.QueryBuilder({"datafusion.execution.target_partitions": str(THREADS)})
            self.builder.register("t", self.deltalake.DeltaTable(path))
        table = self.builder.execute(ask.format(t="t")).read_all()
        return list(zip(*(column.to_pylist() for column in table.columns)))


ENGINES = {"duckdb": DuckDb, "polars": Polars, "datafusion": DataFusion, "deltalake": DeltaLake}


def worker(task: str, arguments: dict) -> None:
    if task not in ("once", "session"):
        globals()[task](**arguments)
        return
    engine = ENGINES[arguments["engine"]]()
    if arguments["first"]:
        engine.answer(arguments["first"], arguments["path"])

    def reply() -> str:
        begun = time.perf_counter()
        answer = engine.answer(arguments["ask"], arguments["path"])
        return json.dumps({"seconds": time.perf_counter() - begun, "answer": answer}, default=str)

    if task == "once":
        print(reply())
    else:
        for _ in sys.stdin:
            print(reply(), flush=True)


def make_locs(files: int, rows: int, fleet: int) -> None:
    """One file in ten has a column more, and one in seven has them in another order; the first file has all of them."""
    import random

    import pyarrow as pa
    import pyarrow.parquet as pq

    random.seed(1)
    shutil.rmtree("locs", ignore_errors=True)
    shutil.rmtree("fleet", ignore_errors=True)
    for number in range(files):
        columns = {
            "ts": pa.array([(number * rows + row) * 60_000_000 for row in range(rows)], pa.timestamp("us")),
            "temp": pa.array([10 + 5 * random.random() for _ in range(rows)]),
            "level": pa.array([random.random() for _ in range(rows)]),
        }
        if number % 10 == 0:
            columns["salinity"] = pa.array([35 * random.random() for _ in range(rows)])
        if number % 7 == 0:
            columns = dict(reversed(columns.items()))
        file = Path("locs", f"site={site(number)}", "t.parquet")
        file.parent.mkdir(parents=True)
        pq.write_table(pa.table(columns), file)
        if number < fleet * fleet:
            link = Path("fleet", f"site={site(number // fleet)}", f"{number % fleet:05}.parquet")
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(file, link)


def make_hours(versions: int) -> None:
    import deltalake
    import duckdb
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    from deltalake.transaction import AddAction, create_table_with_add_actions

    duckdb.execute("COPY (FROM 'k.parquet' ORDER BY ts) TO 'merged.parquet'")
    table = pq.read_table("merged.parquet")
    directory = fresh(Path("hours"))
    added = []
    for number in range(versions):
        part = table.slice(number * 3600, 3600)
        file = directory / f"{number:05}.parquet"
        pq.write_table(part, file)
        bounds = {f"{bound}Values": {"ts": of(part["ts"]).as_py().isoformat()} for bound, of in (("min", pc.min), ("max", pc.max))}
        stats = json.dumps({"numRecords": part.num_rows, "nullCount": {"ts": 0}, **bounds})
        added.append(AddAction(file.name, file.stat().st_size, {}, 0, True, stats))
    create_table_with_add_actions(str(directory), deltalake.Schema.from_arrow(table.schema), added)


def make_entry() -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"n": [1]}), "entry.parquet")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], json.loads(sys.argv[3]))
    else:
        main()
