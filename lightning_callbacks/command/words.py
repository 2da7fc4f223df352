"""The words of a command line, read as methods, files and classes."""

import glob
from collections.abc import Sequence
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from captum_cams.errors import CAMError, near
from captum_cams.registry import canonical


def listed(words: Sequence[str]) -> list[str]:
    """Each word of its own; ``a,b`` stands for ``a b``."""
    return [part.strip() for word in words for part in word.split(",") if part.strip()]


def apart(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Methods, and the files behind them: a shell knows no end of ``--methods gradcam fdcam photo.jpg``."""
    methods, files = list[str](), list[str]()
    for word in words:
        for part in [word] if _is_file(word) else listed([word]):
            (files if _is_file(part) else methods).append(part)
    return methods, files


def _is_file(word: str) -> bool:
    try:
        canonical(word)
    except CAMError:
        path = Path(word)
        return path.exists() or path.suffix.lower() in IMG_EXTENSIONS or len(path.parts) > 1
    return False


def image_files(words: Sequence[str | Path]) -> list[Path]:
    """Files as they are, and of folders and patterns (``photos/*.jpg``) the images, sorted.

    Raises:
        CAMError: no words, a file that is not there, or a folder or pattern without images.
    """
    if not words:
        raise CAMError("there must be at least one image, got none; write photo.jpg, a folder or a pattern")
    return [file for word in words for file in _images(Path(word))]


def _images(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(path.iterdir())
    elif glob.has_magic(str(path)):
        found = sorted(map(Path, glob.glob(str(path), recursive=True)))
    else:
        beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        raise CAMError(f"No such file or folder: {path}{near(path.name, beside)}")
    images = [file for file in found if file.suffix.lower() in IMG_EXTENSIONS]
    if not images:
        raise CAMError(f"{path} must hold images ({', '.join(IMG_EXTENSIONS)}), found none")
    return images


def class_index(target: int | str, names: Sequence[str], count: int) -> int:
    """The index of a class that is given by its index or its name.

    Args:
        target: an index, or a name in any case of letters.
        names: of the model's classes, or nothing.
        count: of the model's classes.

    Raises:
        CAMError: no such index or name (near names are listed), or two classes of one name.
    """
    if isinstance(target, int):
        if not 0 <= target < count:
            raise CAMError(f"target must be a class from 0 to {count - 1}, got {target}")
        return target
    if not names:
        raise CAMError(f'the model knows no names of its classes, got target "{target}"; pass 0 to {count - 1}')
    wanted = target.strip().lower()
    found = [index for index, name in enumerate(names) if name.lower() == wanted]
    if len(found) > 1:
        raise CAMError(f'several classes are called "{target}": {", ".join(map(str, found))}; pass one of these')
    if not found:
        within = [f'"{name}"' for name in names if wanted in name.lower()][:5]
        hint = f"; there are {', '.join(within)}" if within else near(wanted, {name.lower() for name in names})
        raise CAMError(f'no class is called "{target}"{hint or f"; pass an index from 0 to {count - 1}"}')
    return found[0]
