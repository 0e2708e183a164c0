"""What is installed, what is missing, is there a GPU: one table, each row OK or FAIL, with the mend."""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from typing import NamedTuple

OK, FAIL, ABSENT = "OK", "FAIL", "--"
GIGABYTE = 1e9
SETUP = "run make setup, or pip install -e . in an environment of its own"

# In a process of its own: TensorFlow's log lines stay out of the table, and so does a crash.
PROBE = """
import json
def devices():
    import keras
    if keras.backend.backend() not in ("tensorflow", "jax"):
        raise ValueError("expected tensorflow or jax, found " + keras.backend.backend())
    return [keras.backend.backend(), keras.distribution.list_devices()]
def tensorflow():
    import tensorflow
    return [device.name for device in tensorflow.config.list_physical_devices()]
answers = {}
for name, ask in ("tensorflow", tensorflow), ("keras", devices):
    try:
        answers[name] = ask()
    except Exception as error:
        answers[name] = f"{type(error).__name__}: {error}"
print(json.dumps(answers))
"""


class Row(NamedTuple):
    """One thing examined: status is "OK", "FAIL", or "--" where an optional thing is absent; mend says what to do."""

    name: str
    status: str
    found: str
    mend: str = ""


def main():
    """Print the table; return the exit status, 1 where a row says FAIL."""
    rows = examine()
    print(table(rows))
    return int(any(row.status == FAIL for row in rows))


def table(rows):
    """The rows as text in columns; a mend stands on the line below its row."""
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = []
    for row in rows:
        lines.append(f"{row.name:{widths[0]}}  {row.status:{widths[1]}}  {row.found}")
        if row.mend:
            lines.append(f"{'':{widths[0]}}  {'':{widths[1]}}  -> {row.mend}")
    return "\n".join(lines)


def examine():
    """List of Row on this machine and this environment; `pandas.DataFrame(examine())` shows it in a notebook.

    Takes some seconds, since TensorFlow and Keras are started to ask for their devices.
    """
    answers = probe()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # bytes
    return [
        *package_rows(),
        opencv_row(),
        tensorflow_row(answers["tensorflow"]),
        keras_row(answers["keras"]),
        gpu_row(gpus_of_the_driver(), answers["keras"]),
        Row("cores", OK, str(os.cpu_count())),
        room_row("memory", memory, 2, "close other programs, or train with a smaller --batch"),
        room_row("free disk", shutil.disk_usage(".").free, 2, "free some space: the 224 px pictures take 0.6 GB"),
    ]


# The packages


def package_rows():
    """Rows for Python and for each dependency, against the ranges that pyproject.toml gives."""
    try:
        from packaging.requirements import Requirement
        from packaging.specifiers import SpecifierSet

        metadata = importlib.metadata.metadata("mbv2_lib")
    except ImportError as error:  # PackageNotFoundError is one of these
        return [Row("mbv2_lib", FAIL, f"not installed ({error})", SETUP)]
    mend = "install such a Python, then run make setup again"
    rows = [version_row("Python", platform.python_version(), SpecifierSet(metadata["Requires-Python"]), mend)]
    for requirement in map(Requirement, metadata.get_all("Requires-Dist")):
        optional = requirement.marker is not None and any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("jax", "deploy", "onnx")
        )
        if requirement.marker is None or optional:
            name, wanted = requirement.name, requirement.specifier
            rows.append(version_row(name, installed(name), wanted, f"pip install '{name}{wanted}'", optional))
    return rows


def version_row(name, version, wanted, mend, optional=False):
    """Row for Python or a package, of which `version` (str, None where absent) is there, against a SpecifierSet."""
    if version is None and optional:
        return Row(name, ABSENT, "not installed (optional)")
    if version is None:
        return Row(name, FAIL, f"not installed, expected {wanted}", SETUP)
    if wanted.contains(version, prereleases=True):
        return Row(name, OK, version)
    return Row(name, FAIL, f"{version}, expected {wanted}", mend)


def installed(name):
    """The version (str) of a package, None where it is absent. OpenCV without windows serves as well as with."""
    for candidate in (name, f"{name}-headless"):
        try:
            return importlib.metadata.version(candidate)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def opencv_row(load=importlib.import_module):
    """Row on `import cv2`, which fails on a bare server although the package is there."""
    try:
        load("cv2")
    except ImportError as error:
        mend = "apt-get install libgl1 libglib2.0-0, or pip install opencv-python-headless in place of opencv-python"
        return Row("import cv2", FAIL, one_line(error), mend)
    return Row("import cv2", OK, "works")


# The devices


def probe():
    """What TensorFlow and Keras answer: a list, or a text that says why there is no answer."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", PROBE]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        failure = "no answer in 300 s"
    except (IndexError, ValueError):
        failure = f"ended with exit status {done.returncode} {one_line(done.stderr[-200:])}"
    return {"tensorflow": failure, "keras": failure}


def tensorflow_row(answer):
    """Row on `import tensorflow`; answer is its list of devices, or the text of a failure."""
    if isinstance(answer, str):
        return Row("import tensorflow", FAIL, one_line(answer), SETUP)
    return Row("import tensorflow", OK, "sees " + ", ".join(answer))


def keras_row(answer):
    """Row on Keras; answer is [backend, devices], or the text of a failure."""
    asked = os.environ.get("KERAS_BACKEND", "")
    if isinstance(answer, str):
        mend = "unset KERAS_BACKEND, or pip install -e '.[jax]' for KERAS_BACKEND=jax" if asked else SETUP
        return Row("Keras backend", FAIL, one_line(answer), mend)
    backend, devices = answer
    return Row("Keras backend", OK, f"{backend}, sees {', '.join(devices)}")


def gpus_of_the_driver():
    """Names of the GPUs that NVIDIA's driver shows; an empty list where there is none."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):  # no such program, or no answer
        return []


def gpu_row(present, keras_answer):
    """Row on the GPUs: `present` are the driver's names, keras_answer as for `keras_row`."""
    backend, devices = ("tensorflow", []) if isinstance(keras_answer, str) else keras_answer
    seen = [device for device in devices if not device.lower().startswith("cpu")]
    if seen:
        return Row("GPU", OK, f"training runs on {', '.join(seen)} {' '.join(present)}".strip())
    if present:
        found = f"{', '.join(present)} is there, and {backend} does not see it: training on the CPU"
        return Row("GPU", FAIL, found, f"pip install -e '.[{'jax-gpu' if backend == 'jax' else 'gpu'}]'")
    return Row("GPU", OK, "none: training runs on the CPU")


# The machine


def room_row(name, found, least, mend):
    """Row on `found` bytes of memory or disk, of which `least` gigabytes are wanted."""
    if found < least * GIGABYTE:
        return Row(name, FAIL, f"{found / GIGABYTE:.1f} GB, expected at least {least} GB", mend)
    return Row(name, OK, f"{found / GIGABYTE:.1f} GB")


def one_line(text, most=200):
    return " ".join(str(text).split())[:most]
