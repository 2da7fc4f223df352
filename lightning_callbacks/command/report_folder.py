"""The command ``captum-cams report``."""

from pathlib import Path

from lightning_callbacks.evaluation.report import write_report


def report_folder(*, folder: Path) -> None:
    """Write the report of a finished evaluation; the command line describes the arguments.

    Raises:
        CAMError: the folder has no finished evaluation.
    """
    file = write_report(folder)
    print(f"{file}: {-(-file.stat().st_size // 1024)} kB; open it in a browser")
