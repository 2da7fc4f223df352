"""Read images from files, upright and in colour."""

from pathlib import Path

from PIL import Image, ImageOps

from captum_cams.errors import CAMError


def read_image(file: str | Path) -> Image.Image:
    """Read an image as viewers show it: in RGB, and rotated as its EXIF data says.

    Raises:
        CAMError: there is no such file, it is damaged, or it has more pixels than Pillow accepts.
    """
    try:
        with Image.open(file) as opened:
            return ImageOps.exif_transpose(opened).convert("RGB")
    except Image.DecompressionBombError as error:
        raise CAMError(
            f"{file} is too large ({str(error).split(',')[0]}); make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except FileNotFoundError as error:
        raise CAMError(f"there is no image {file} (No such file); check its name") from error
    except Exception as error:  # each decoder raises its own errors for damaged files
        said = " ".join(str(error).split()).replace(f" {str(file)!r}", "")
        raise CAMError(f"{file} cannot be read as an image ({said or type(error).__name__})") from error
