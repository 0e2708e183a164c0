"""What every room needs of the disk: files that appear whole or not at all, and the one error that a user sees."""

import csv
import fcntl
import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path


class UserError(Exception):
    """A mistake or a mishap that the user can mend.

    Its text is one line: the thing, what was expected, what was found, and the mend. The command line prints it on
    standard error and exits with status 2.
    """


@contextmanager
def whole_file(path):
    """Yield a path to write to; what was written there takes the name `path` only when the block ends well.

    The file aside stands in the same folder (a rename is then one step of the file system) and keeps the ending of
    the name (Keras chooses the format by it). Raises UserError where the folder cannot be written to or is full;
    what stood at `path` before is then untouched, and nothing half-written is left.
    """
    path = Path(path)
    aside = path.with_name(".partial-" + path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        aside.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):  # it is gone after a rename, and never was where nothing could be written
            aside.unlink()


def unwritable(path, error):
    """The UserError of an OSError that was met in writing to `path`."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return UserError(f"{path}: expected a folder to write to, found a file; choose another one")
    return UserError(
        f"{path}: could not be written ({error.strerror or error}); free some space, or choose a folder that you may "
        "write to, and run the same command again"
    )


@contextmanager
def alone_in(folder):
    """Make `folder` where it is missing; inside, nobody else is in here for it. Raises UserError where somebody is.

    The lock lies on the folder itself: nothing is left behind, whatever way the program ends. A folder made here in
    which nothing was written goes again.
    """
    new = not os.path.lexists(folder)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{folder}: expected to be alone there, found another command that writes into it; wait for its end, "
                "or choose another folder"
            ) from error
        except OSError:  # a file system without locks
            pass
        try:
            yield
        finally:
            if new:
                with suppress(OSError):  # it holds something, as it should
                    Path(folder).rmdir()
    finally:
        os.close(handle)


def write_text(path, text):
    """Write `text` to `path`, whole or not at all. Raises UserError as `whole_file` does."""
    with whole_file(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path, value):
    """Write `value` to `path` as indented JSON, whole or not at all. Raises UserError as `whole_file` does."""
    write_text(path, json.dumps(value, indent=2) + "\n")  # in ASCII: the name of a class folder need not be UTF-8


def write_csv(path, rows):
    """Write the rows (dicts with the same keys), whole or not at all. Raises UserError as `whole_file` does."""
    with whole_file(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_json(path):
    """The value that the JSON file at `path` holds. Raises UserError where it is missing or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        found = f"{type(error).__name__} ({error})"
        raise UserError(f"{path}: expected a JSON file, found {found}; restore or remove it") from error
