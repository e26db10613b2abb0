"""The list of developer commands: `nox -l` shows it, `nox -s NAME -- ARGUMENTS` runs one."""

import platform
import tempfile
from pathlib import Path

import nox

nox.options.sessions = ["tests", "lint", "types", "docs"]
nox.options.default_venv_backend = "venv"

CPP = [str(p) for d in ("cpp", "tests") for p in sorted(Path(d).rglob("*.[ch]pp"))]


def install(session: nox.Session, extras: str, *settings: str) -> Path:
    """Install the package with settings of its build; return the folder of its object files."""
    build = Path(session.create_tmp(), "build").resolve()
    session.install(f".[{extras}]", *[f"-C{s}" for s in (f"build-dir={build}", *settings)])
    return build


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite on the installed package, its object files and its kernels alone."""
    build = install(session, "test", "cmake.define.SOFTSTEP_DRIVER=ON")
    session.run("pytest", *session.posargs, env={"SOFTSTEP_BUILD_DIR": str(build)})


@nox.session
@nox.parametrize("age", ["oldest", "newest"])
@nox.parametrize(
    "extra", ["demo", "bench", "test", "sklearn", "torch", "transformers", "jax", "mpi"]
)
def versions(session: nox.Session, extra: str, age: str) -> None:
    """Run an extra's tests with the oldest versions that pyproject.toml has, or the newest."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"][extra]]
    if age == "oldest":
        needed = [requirement.replace(">=", "==") for requirement in needed]
        needed.append("pyparsing<3.3")  # which warns of what Matplotlib of that time calls
    peers = ["peft", "accelerate"] if extra == "transformers" else []
    session.install("--upgrade", ".[test]", *needed, *peers)
    # scikit-learn 1.6 hands pytest a generator of checks, and SciPy options that it no longer has.
    allowed = ["-Wignore:Passing a non-Collection", "-Wignore:scipy.optimize"]
    room = {"demo": "cli", "test": "losses", "mpi": "distributed"}.get(extra, extra)
    session.run("pytest", *allowed, f"tests/{room}", "tests/runtime", *session.posargs)


@nox.session
def free_threaded(session: nox.Session) -> None:
    """Run the rooms of kernels on a Python without the GIL; tests of functions on four threads."""
    folder = Path(".nox", "cpython-3.13t").resolve()
    said = session.run("python", "tools/free_threaded_python.py", str(folder), silent=True)
    found = str(said).strip().splitlines()[-1]  # after the warnings of a build
    environment = Path(session.create_tmp(), "venv").resolve()
    session.run(found, "-m", "venv", str(environment), external=True)
    python = str(environment / "bin" / "python")
    needed = [
        "pytest",
        "pytest-timeout",
        "pytest-run-parallel",
        "hypothesis",
        "mpmath",
        "ml_dtypes",
    ]
    # Where the newest has no wheel for this Python, an older one: Hypothesis's source needs Rust.
    pip = [python, "-m", "pip", "install", "-q", "--only-binary=:all:"]
    session.run(*pip, ".", *needed, "threadpoolctl", external=True)
    # Warnings are not errors: those of the plugin and of tests that need what has no such wheels.
    pytest = [python, "-m", "pytest", "-q", "-Wdefault"]
    session.run(
        *pytest, "tests/losses", "tests/head", "tests/optim", "tests/runtime", external=True
    )
    parallel = ["--parallel-threads=4", "tests/losses/test_softmax.py", "tests/losses/test_exp.py"]
    session.run(*pytest, *parallel, *session.posargs, external=True)


@nox.session
@nox.parametrize("parallel", ["openmp", "serial"])
def backend(session: nox.Session, parallel: str) -> None:
    """Run the suite on another thread backend."""
    extras = "test,torch,transformers,jax,sklearn,mpi"
    install(session, extras, f"cmake.define.SOFTSTEP_PARALLEL={parallel}")
    session.install("peft", "accelerate", "optax")
    # Waiting threads that spin would take the cores from what runs beside them.
    session.run("pytest", *session.posargs, env={"OMP_WAIT_POLICY": "passive"})


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format of Python and C++."""
    session.install("--group", "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("clang-format", "--dry-run", "-Werror", *CPP, silent=True)


@nox.session
def format(session: nox.Session) -> None:
    """Put Python and C++ into the format that `lint` checks."""
    session.install("--group", "lint")
    session.run("ruff", "check", "--fix")
    session.run("ruff", "format")
    session.run("clang-format", "-i", *CPP)


@nox.session
def types(session: nox.Session) -> None:
    """Type-check the package and compare the stubs with the compiled extension."""
    session.install(".[test,torch]", "--group", "types")
    session.run("mypy")
    session.run("stubtest", "softstep._core")


@nox.session
def isa(session: nox.Session) -> None:
    """Run the suite once per ISA level of this CPU, and look into the object files."""
    build = install(session, "test", "cmake.define.SOFTSTEP_DRIVER=ON")
    levels = session.run(
        "python", "-c", "import softstep; print(*softstep.available_isas())", silent=True
    )
    for level in str(levels).split():
        environment = {"SOFTSTEP_ISA": level, "SOFTSTEP_BUILD_DIR": str(build)}
        session.run("pytest", *session.posargs, env=environment)


@nox.session
def bench(session: nox.Session) -> None:
    """Time the kernels against the installed peers: `nox -s bench -- --json FILE`."""
    session.install(".[bench]")
    session.run("softstep", "bench", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Draw the pictures again and run every example of the documentation."""
    session.install(".[test]")
    session.run("python", "docs/pictures.py")
    session.run("pytest", "tests/docs", *session.posargs)


@nox.session
def site(session: nox.Session) -> None:
    """Build the documentation site into build/site, and look at it in Chromium if that is there."""
    session.install(".[test,torch,transformers,jax,sklearn,mpi]", "--group", "site")
    # Threads of BLAS and PyTorch that spin slow the examples down.
    quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    session.run("sphinx-build", "-W", "--keep-going", "-q", "docs", "build/site", env=quiet)
    pages = {"SOFTSTEP_SITE": "build/site"}
    session.run("pytest", "tests/docs", "-k", "site", *session.posargs, env=pages)


@nox.session
@nox.parametrize("sanitizer", ["undefined", "address"])
def sanitize(session: nox.Session, sanitizer: str) -> None:
    """Run the suite with undefined behaviour, or wrong addresses and leaks, made fatal."""
    install(session, "test", f"cmake.define.SOFTSTEP_SANITIZE={sanitizer}", "install.strip=false")
    if sanitizer == "undefined":
        session.run("pytest", *session.posargs)
        return
    with tempfile.TemporaryDirectory() as reports:
        # At its end pytest asks for the leaks; at that of the process they would be its status.
        leaks = f"detect_leaks=1:leak_check_at_exit=0:log_path={reports}/report"
        session.run("pytest", *session.posargs, env=address_environment(session, leaks))
        if found := our_leaks(Path(reports)):
            session.error("\n\n".join(found))


# What pybind11 and we take for the definition of a function, as long as Python lives.
DEFINITIONS = ("make_function_record", "initialize_generic", "argument_record", "::define(")


def our_leaks(reports: Path) -> list[str]:
    """Return the leaks of memory that our code took."""
    blocks = [b for file in reports.iterdir() for b in file.read_text().split("\n\n")]
    ours = [b for b in blocks if " leak of " in b and "/cpp/" in b]
    return [block for block in ours if not any(name in block for name in DEFINITIONS)]


def preloaded(session: nox.Session, *names: str) -> str:
    """Return what Python, which is not instrumented itself, needs to load an extension that is."""
    files = [session.run("g++", f"-print-file-name={n}", silent=True) for n in names]
    return " ".join(str(file).strip() for file in files)


def address_environment(session: nox.Session, leaks: str = "detect_leaks=0") -> dict[str, str]:
    # What is too large is refused, as it is without a sanitizer. Few frames: deeper ones are those
    # of callers, not of who took the memory.
    options = f"{leaks}:malloc_context_size=6:allocator_may_return_null=1"
    options += ":max_allocation_size_mb=8192"
    return {"ASAN_OPTIONS": options, "LD_PRELOAD": preloaded(session, "libasan.so", "libstdc++.so")}


@nox.session
def races(session: nox.Session) -> None:
    """Run the tests of threads and of callers side by side with data races made fatal."""
    install(session, "test", "cmake.define.SOFTSTEP_SANITIZE=thread", "install.strip=false")
    # BLAS is not instrumented. The shadow memory does not fit every randomised address space.
    environment = {"LD_PRELOAD": preloaded(session, "libtsan.so"), "OPENBLAS_NUM_THREADS": "1"}
    words = ["setarch", platform.machine(), "-R", "pytest", "tests/runtime/test_threads.py"]
    words += ["tests/runtime/test_result_memory.py", "tests/optim/test_concurrent_steps.py"]
    session.run(*words, *session.posargs, env=environment, external=True)


@nox.session
def seeds(session: nox.Session) -> None:
    """Draw what tests draw anew, for a night: `nox -s seeds -- 20` does so twenty times."""
    install(session, "test,sklearn,torch,jax")
    rooms = ["losses", "head", "optim", "conformance", "training", "sklearn", "torch", "jax"]
    failed = []
    for seed in range(1, 1 + int(session.posargs[0] if session.posargs else 20)):
        drawn = [f"--seed={seed}", f"--hypothesis-seed={seed}"]
        try:
            session.run("pytest", "-q", *drawn, *[f"tests/{room}" for room in rooms])
        except nox.command.CommandFailed:
            failed.append(seed)
    if failed:
        session.error(f"failed with the seeds {failed}")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Give functions and programs what nobody would: `nox -s fuzz -- bindings --seconds 3600`."""
    sanitizers = "cmake.define.SOFTSTEP_SANITIZE=address,undefined"
    install(session, "test", sanitizers, "install.strip=false")
    environment = address_environment(session)
    session.run("python", "-m", "tests.campaigns.fuzz", *session.posargs, env=environment)


@nox.session
def killed(session: nox.Session) -> None:
    """Kill trainings, fill their disk, take their folder: `nox -s killed -- --moments 500`."""
    session.install(".[test,mpi,torch]")
    # Root of a namespace of its own, to mount a small disk there.
    alone = ["unshare", "--map-root-user", "--mount"]
    module = ["python", "-m", "tests.campaigns.killed"]
    session.run(*alone, *module, *session.posargs, external=True)


@nox.session
def every_float32(session: nox.Session) -> None:
    """Find the worst errors of exp, log and tanh: of every float32, by a search in float64."""
    session.install(".[test,demo]")
    session.run("python", "-m", "tests.campaigns.every_float32", *session.posargs)


@nox.session
def beyond_32_bits(session: nox.Session) -> None:
    """Call every family with more than 2^31 elements, rows or classes; takes up to 18 GiB."""
    session.install(".[test]")
    session.run("python", "-m", "tests.campaigns.beyond_32_bits", *session.posargs)


@nox.session
def memcheck(session: nox.Session) -> None:
    """Run the kernels and the pool, without Python, under Valgrind's memcheck."""
    build = install(session, "test", "cmake.define.SOFTSTEP_DRIVER=ON")
    cases = str(Path(session.create_tmp(), "cases.bin").resolve())
    session.run("python", "-m", "tests.objects.write_driver_cases", cases)
    memcheck = ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full"]
    # What threads that still wait hold is "possibly lost".
    memcheck += ["--errors-for-leak-kinds=definite", "--show-leak-kinds=definite"]
    for name, *words in (["softstep_driver", cases], ["parallel_driver"]):
        (driver,) = build.rglob(name)
        session.run(*memcheck, str(driver), *words, external=True)


@nox.session
def load(session: nox.Session) -> None:
    """Call from many threads, children and programs: `nox -s load -- --seconds 1800 --busy 2`."""
    session.install(".[test,torch,jax]")
    session.run("python", "-m", "tests.campaigns.load", *session.posargs)


@nox.session
def seeded_faults(session: nox.Session) -> None:
    """Put faults into the C++ and see whether tests find them: `-- --faults 200 --seed 0`."""
    session.install(".[test]", "cmake", "ninja", "pybind11", "pytest-xdist")
    session.run("python", "-m", "tests.campaigns.seeded_faults", *session.posargs)


@nox.session
def tidy(session: nox.Session) -> None:
    """Run clang-tidy on the C++; takes minutes."""
    session.install("clang-tidy", "cmake", "ninja", "pybind11")
    build = Path(session.create_tmp(), "tidy").resolve()
    compiler = {"CXX": "clang++"}
    session.run("cmake", "--preset", "default", "-G", "Ninja", "-B", str(build), env=compiler)
    session.run(
        "clang-tidy",
        "-p",
        str(build),
        *[p for p in CPP if p.startswith("cpp") and p.endswith(".cpp")],
    )
