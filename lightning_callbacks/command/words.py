"""Read words of the command line as methods, files and classes."""

import glob
from collections.abc import Sequence
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from captum_cams.errors import CAMError, near
from captum_cams.registry import canonical


def listed(words: Sequence[str]) -> list[str]:
    """Split words at commas: ``a,b`` means the same as ``a b``."""
    return [part.strip() for word in words for part in word.split(",") if part.strip()]


def apart(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate methods from files, because images may follow methods: ``--methods gradcam fdcam photo.jpg``."""
    methods, files = list[str](), list[str]()
    for word in words:
        for part in [word] if _is_file(word) else listed([word]):
            (files if _is_file(part) else methods).append(part)
    return methods, files


def classes_apart(words: Sequence[int | str]) -> tuple[list[int | str], list[str]]:
    """Separate classes from files, because images may follow classes: ``--target fox dog photo.jpg``."""
    files = [word for word in words if isinstance(word, str) and _like_a_file(word)]
    return [word for word in words if word not in files], files


def _is_file(word: str) -> bool:
    """Whether a word is no method, but looks like a file."""
    try:
        canonical(word)
    except CAMError:
        return _like_a_file(word)
    return False


def _like_a_file(word: str) -> bool:
    path = Path(word)
    return path.exists() or path.suffix.lower() in IMG_EXTENSIONS or len(path.parts) > 1


def image_files(words: Sequence[str | Path]) -> list[Path]:
    """List the files that the words name: files, and the sorted images of folders and of patterns (``photos/*.jpg``).

    Raises:
        CAMError: there are no words, a file does not exist, or a folder or pattern has no images.
    """
    if not words:
        raise CAMError("there must be at least one image, got none; write photo.jpg, a folder or a pattern")
    return [file for word in words for file in _images(Path(word))]


def _images(path: Path) -> list[Path]:
    """The images of a file, a folder or a pattern."""
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(path.iterdir())
    elif glob.has_magic(str(path)):
        found = sorted(map(Path, glob.glob(str(path), recursive=True)))
    else:
        others = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        raise CAMError(f"No such file or folder: {path}{near(path.name, others)}")
    images = [file for file in found if file.suffix.lower() in IMG_EXTENSIONS]
    if not images:
        raise CAMError(
            f"{path} must have images ({', '.join(IMG_EXTENSIONS)}), found none; check the folder or the pattern"
        )
    return images


def class_index(target: int | str, names: Sequence[str], count: int) -> int:
    """Find the index of a class by its index or its name.

    Args:
        target: an index, or a name in upper or lower case.
        names: the class names of the model; may be empty.
        count: the number of classes of the model.

    Raises:
        CAMError: there is no such index or name (similar names are listed), or several classes have this name.
    """
    if isinstance(target, int):
        if not 0 <= target < count:
            raise CAMError(f"target must be a class from 0 to {count - 1}, got {target}")
        return target
    if not names:
        raise CAMError(
            f'target must be an index, since the model has no class names, got "{target}"; pass 0 to {count - 1}'
        )
    wanted = target.strip().lower()
    found = [index for index, name in enumerate(names) if name.lower() == wanted]
    if len(found) > 1:
        raise CAMError(f'several classes are called "{target}": {", ".join(map(str, found))}; pass one of these')
    if not found:
        within = [f'"{name}"' for name in names if wanted in name.lower()][:5]
        hint = f"; there are {', '.join(within)}" if within else near(wanted, {name.lower() for name in names})
        raise CAMError(f'no class is called "{target}"{hint or f"; pass an index from 0 to {count - 1}"}')
    return found[0]
