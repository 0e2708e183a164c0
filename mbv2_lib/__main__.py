"""The command line: `mbv2 <command>`, or `python -m mbv2_lib <command>`."""

import argparse
import os
import shlex
import sys
from contextlib import suppress
from dataclasses import MISSING, fields
from pathlib import Path

from mbv2_lib.config import PLACE, TrainConfig, flag, new_config, whole
from mbv2_lib.files import UserError, write_json


def main(argv=None):
    """Run one command. Returns the exit status: 0, 1 where `doctor` or `check` found something, 2 for an error."""
    said = parser().parse_args(argv)
    make_streams_safe()
    try:
        status = said.function(said) or 0
        sys.stdout.flush()  # here, where a reader that has gone is still answered in order
        return status
    except BrokenPipeError:  # the reader of our output, such as `head`, has enough: no error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the flush at the very end meets it again
        return 141  # what a shell says of a program that its reader ended
    except MemoryError as error:
        return complain(f"not enough memory ({error}); ask for fewer or smaller pictures")
    except UserError as error:
        return complain(error)
    except OSError as error:  # what no other place foresaw: the system's word for it, and where to look
        found = f"{error.filename or 'a file'}: {error.strerror or error}"
        return complain(f"{found}; check its name, its permissions and the room on its disk")
    except KeyboardInterrupt:
        return complain("stopped", 130)


def complain(error, status=2):
    """Say in one line on standard error what went wrong; returns the exit status for it."""
    with suppress(OSError):  # nobody reads it, or the disk is full
        print("mbv2:", " ".join(str(error).split()), file=sys.stderr, flush=True)
    return status


def make_streams_safe():
    """Write where the shell has closed a stream (>&- or 2>&-), and names that are no UTF-8, without a complaint."""
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's has it not
        sys.stdout.reconfigure(errors="backslashreplace")


class OneLineParser(argparse.ArgumentParser):
    """A parser whose complaints take one line, like every other error."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {' '.join(message.split())}; see {self.prog} --help\n")


def parser():
    """The commands and their flags; each command is a function below that takes what was said."""
    top = OneLineParser(prog="mbv2", description="MobileNetV2: its data, its training, its accuracy and its files.")
    commands = top.add_subparsers(required=True, metavar="command")

    def command(function):
        summary = function.__doc__.splitlines()[0].rstrip(".")
        one = commands.add_parser(function.__name__, help=summary, description=summary)
        one.set_defaults(function=function)
        return one

    command(doctor)

    add = command(prepare).add_argument
    add("--dataset", choices=("cifar100", "shapes100"), default="cifar100", help="which pictures (cifar100)")
    add("--out", type=PLACE, required=True, help="the folder to write")
    add("--size", type=whole(1, 4096), default=224, help="pixels of a side (224)")
    add("--source", type=PLACE, help="CIFAR-100 from a folder, an archive or a URL; else it is downloaded")
    kinds = ("nearest", "linear", "cubic", "area", "lanczos")
    add("--interpolation", default="cubic", choices=kinds, help="how new pixels are made (cubic)")
    add("--quality", type=whole(1, 100), default=95, help="of the JPEGs, 1 to 100 (95)")
    add("--workers", type=whole(1, 256), help="threads; else one a core")
    add("--per-class", type=whole(), help="at most so many pictures of each class in each split")
    add("--leak-demo", action="store_true", help="FOR DEMONSTRATION: copy validation from training, as a leak does")

    command(check).add_argument("folder", type=PLACE, help="a folder with train/ and validation/")

    add = command(train).add_argument
    add("--run", type=PLACE, default="runs/latest", help="the run folder (runs/latest)")
    add("--resume", action="store_true", help="go on with the run in --run, with the settings that it began with")
    for field in fields(TrainConfig):
        if field.name != "run":  # what is not said stays out: it comes from TrainConfig or from the run to resume
            kind, help = field.metadata["kind"], field.metadata["meaning"]
            help += "" if field.default in (MISSING, None) else f" ({field.default})"
            add(flag(field.name), type=kind, default=argparse.SUPPRESS, choices=kind.words or None, help=help)

    add = command(evaluate).add_argument
    add("--run", type=PLACE, required=True, help="the run folder")
    add("--data", type=PLACE, required=True, help="as for train")
    add("--weights", choices=("last", "best"), default="last", help="of the last epoch, or of the best one (last)")
    add("--flips", action="store_true", help="also average the answers to each picture and its mirror image")

    add = command(export).add_argument
    add("--run", type=PLACE, required=True, help="the run folder")
    add("--out", type=PLACE, help="the folder to write to; else the run folder")
    add("--data", type=PLACE, help="as for train; else what the run was trained on")
    add("--weights", choices=("last", "best"), default="last", help="of the last epoch, or of the best one (last)")
    add("--format", choices=("litert", "onnx"), default="litert", help="LiteRT float32 and int8, or ONNX (litert)")
    add("--calibration", type=whole(), default=300, help="training pictures that set the scales of int8 (300)")

    add = command(predict).add_argument
    add("--model", type=PLACE, required=True, help="a .tflite or .onnx file that export wrote")
    add("--threads", type=whole(1, 256), default=1, help="threads that compute (1)")
    add("pictures", nargs="+", metavar="picture", help="JPEG, PNG or BMP files of any size")
    return top


# -- the commands; heavy rooms are entered only by those that need them ------------------------------------------------


def doctor(said):
    """Check the environment and say how to mend it."""
    from mbv2_lib import doctor

    return doctor.main()


def prepare(said):
    """Write a data set as folders of JPEGs."""
    from mbv2_lib import cifar100, folders, shapes100

    settings = {name: getattr(said, name) for name in ("size", "interpolation", "quality", "workers")}
    if said.dataset == "shapes100":
        if said.source:
            raise UserError(f"--source {said.source}: Shapes-100 is drawn, not read; leave --source out")
        drawn = (said.per_class, said.per_class) if said.per_class else ()
        (train, validation), names = shapes100.load(*drawn), shapes100.CLASSES
    else:
        (train, validation), names = cifar100.load(said.source), cifar100.CLASSES
    splits = {"train": some(train, said.per_class), "validation": some(validation, said.per_class)}
    source = said.dataset
    if said.leak_demo:
        each = len(splits["validation"][1]) // len(names)
        splits["validation"] = some(splits["train"], each)  # what the first project measured itself on
        source += ", validation copied from training to demonstrate a leak"
    folders.write_folders(said.out, splits, names, source=source, **settings)
    if said.leak_demo:
        print("For demonstration: validation/ holds copies of training pictures; no accuracy measured on it means much")
    print(f"{said.out}: " + ", ".join(f"{len(labels):,} pictures in {name}/" for name, (_, labels) in splits.items()))


def some(split, per_class):
    """The first `per_class` pictures of each class, in the order of the split; all of them for None."""
    import numpy as np

    pictures, labels = split
    if per_class is None:
        return split
    rows = np.sort(np.concatenate([np.flatnonzero(labels == label)[:per_class] for label in np.unique(labels)]))
    return pictures[rows], labels[rows]


def check(said):
    """List what is wrong with a folder of pictures: unreadable files, missing classes, leaks between the splits."""
    from mbv2_lib import checking

    findings = checking.check(said.folder)
    for finding in findings:
        print(" ".join(finding.message.splitlines()))
    print(f"{said.folder}: {len(findings)} findings" if findings else f"{said.folder}: nothing wrong found")
    return int(bool(findings))


def train(said):
    """Train the network, or go on with a run that was stopped."""
    from mbv2_lib import runs

    names = {field.name for field in fields(TrainConfig)}
    given = {name: value for name, value in vars(said).items() if name in names}
    config = runs.resumed_config(given) if said.resume else new_config(given)

    from mbv2_lib import training  # only now: a wrong setting is answered before TensorFlow is there

    try:
        training.train(config, resume=said.resume)
    except KeyboardInterrupt:
        begun = (Path(config.run) / "config.json").is_file()
        advice = f"Go on with: mbv2 train --run {shlex.quote(config.run)} --resume" if begun else "No run was begun."
        print(f"\nStopped. {advice}", file=sys.stderr)
        return 130
    print(f"{said.run}: history.csv, curves.png, best.weights.h5 and last.weights.h5 are written")
    return 0


def evaluate(said):
    """Measure a run on the validation pictures and write its metrics.json."""
    from mbv2_lib import runs

    config, described = runs.read_config(said.run)
    weights = runs.weights_file(said.run, said.weights)

    from mbv2_lib import training

    metrics = training.measure(config, described, said.data, weights, flips=said.flips)
    print(report(metrics))  # first: a folder that cannot be written to shall not cost the measurement
    write_json(Path(said.run) / "metrics.json", metrics)


def report(metrics):
    """The metrics as a table for people."""
    lines = [
        f"{metrics['pictures']:,} held-out pictures of {metrics['data']}, weights of the {metrics['weights']} epoch"
    ]
    lines.append(f"loss   {metrics['loss']:.4f}")
    for name in ("top1", "top5"):
        lines.append(f"{name}   {metrics[name]:7.2%}  +- {metrics[name + '_standard_error']:.2%} (standard error)")
    if "with_flips" in metrics:
        both = metrics["with_flips"]
        lines.append(f"with mirror images, apart: top1 {both['top1']:.2%}, top5 {both['top5']:.2%}")
    return "\n".join(lines)


def export(said):
    """Write a run as files for phones and other small machines: LiteRT float32 and int8, or ONNX."""
    from mbv2_lib import runs

    runs.read_config(said.run)
    runs.weights_file(said.run, said.weights)

    from mbv2_lib import deployment  # only now, as in train

    deployment.export_run(said.run, said.out, said.data, said.weights, said.format, said.calibration)


def predict(said):
    """Name the five likeliest classes of pictures, with an exported model and without TensorFlow."""
    from mbv2_lib import inference, pictures
    from mbv2_lib.quiet import quiet

    model, status = inference.open_model(said.model, said.threads), 0
    for path in said.pictures:
        try:
            with quiet():  # decoders have words of their own for a damaged file
                picture = pictures.read(path, model.size)
        except UserError as error:  # the others can still be answered
            status = complain(error)
            continue
        print(" ".join(path.splitlines()))
        for name, probability in inference.top(model.predict(picture[None])[0], model.classes):
            print(f"  {probability:6.1%}  {name}")
    return status


if __name__ == "__main__":
    sys.exit(main())
