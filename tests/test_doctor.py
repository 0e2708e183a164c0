"""The doctor says OK where things are right, and names the mend where they are not."""

import re
import subprocess
import sys

import pytest
from packaging.specifiers import SpecifierSet

from mbv2_lib import doctor


@pytest.fixture(scope="module")
def rows():
    return doctor.examine()


def test_this_environment_is_examined_in_full(rows):
    by_name = {row.name: row for row in rows}
    for name in ("Python", "tensorflow", "keras", "jupyterlab", "ipywidgets", "import cv2", "Keras backend", "GPU"):
        assert by_name[name].status == "OK", by_name[name]
    assert "CPU" in by_name["import tensorflow"].found
    assert by_name["cores"].found.isdigit() and by_name["memory"].found.endswith("GB")


def test_the_table_has_a_line_for_each_row_and_no_log_lines(rows):
    lines = doctor.table(rows).splitlines()
    assert len(lines) == len(rows) + sum(bool(row.mend) for row in rows)
    assert all(re.search(r" (OK|FAIL|--|->) ", line) for line in lines)


@pytest.mark.parametrize(("status", "code"), [("OK", 0), ("--", 0), ("FAIL", 1)])
def test_the_exit_status_is_one_on_a_fail_only(monkeypatch, capsys, status, code):
    monkeypatch.setattr(doctor, "examine", lambda: [doctor.Row("thing", status, "found", "do this")])
    assert doctor.main() == code
    assert capsys.readouterr().out.splitlines()[1].endswith("-> do this")


def test_asking_the_doctor_does_not_import_tensorflow():
    program = "import sys, mbv2_lib.doctor; print({'tensorflow', 'keras', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Each thing that can be wrong


@pytest.mark.parametrize(
    ("version", "optional", "status"),
    [("2.1", False, "OK"), ("3.0", False, "FAIL"), ("1.9", True, "FAIL"), (None, False, "FAIL"), (None, True, "--")],
)
def test_a_version_is_held_against_its_range(version, optional, status):
    row = doctor.version_row("thing", version, SpecifierSet(">=2,<3"), "pip install it", optional)
    assert row.status == status
    assert bool(row.mend) == (status == "FAIL")


def test_a_python_out_of_range_fails(monkeypatch):
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.10.4")
    assert doctor.package_rows()[0].status == "FAIL"


def test_the_library_itself_not_installed_is_a_row_and_not_a_traceback(monkeypatch):
    def missing(name):
        raise doctor.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "metadata", missing)
    (row,) = doctor.package_rows()
    assert row.status == "FAIL" and "pip install -e ." in row.mend


def test_opencv_without_libgl_names_the_mend():
    def without_libgl(name):
        raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")

    row = doctor.opencv_row(without_libgl)
    assert row.status == "FAIL" and "libGL.so.1" in row.found
    assert "libgl1 libglib2.0-0" in row.mend and "opencv-python-headless" in row.mend


def test_a_machine_without_a_gpu_is_well():
    row = doctor.gpu_row([], ["tensorflow", ["cpu:0"]])
    assert row == ("GPU", "OK", "none: training runs on the CPU", "")


def test_a_gpu_that_is_there_and_not_seen_fails_loudly():
    row = doctor.gpu_row(["NVIDIA H200"], ["tensorflow", ["cpu:0"]])
    assert row.status == "FAIL" and "NVIDIA H200" in row.found and "pip install -e '.[gpu]'" in row.mend


def test_a_gpu_that_is_seen_is_named():
    row = doctor.gpu_row(["NVIDIA H200"], ["tensorflow", ["gpu:0"]])
    assert row.status == "OK" and "gpu:0 NVIDIA H200" in row.found


def test_a_keras_backend_that_does_not_exist_fails_with_the_reason(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "nonsense")
    row = doctor.keras_row(doctor.probe()["keras"])
    assert row.status == "FAIL" and "nonsense" in row.found and "unset KERAS_BACKEND" in row.mend


def test_a_crash_of_tensorflow_is_a_row_and_not_a_crash_of_the_doctor(monkeypatch):
    monkeypatch.setattr(doctor, "PROBE", "import os; os.abort()")
    row = doctor.tensorflow_row(doctor.probe()["tensorflow"])
    assert row.status == "FAIL" and "exit status -6" in row.found


@pytest.mark.parametrize(("found", "status"), [(1e9, "FAIL"), (5e9, "OK")])
def test_room_is_measured_in_gigabytes(found, status):
    row = doctor.room_row("free disk", found, 2, "free some space")
    assert row.status == status and bool(row.mend) == (status == "FAIL")
