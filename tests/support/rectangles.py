"""Pictures of a white rectangle, and the box around it."""

from PIL import Image, ImageDraw

from lightning_callbacks.command.models import load_model

WHOLE = load_model("tests.support.evaluation_run:network").transform(whole=True)


def picture(file, size, box):
    """Black with a white rectangle: the annotated object itself."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size)
    x0, y0, x1, y1 = box
    ImageDraw.Draw(image).rectangle((x0, y0, x1 - 1, y1 - 1), fill="white")
    image.save(file, quality=100)


def lit(image):
    """The box around the bright pixels."""
    rows, columns = (image.mean(0) > 0).nonzero().T
    return [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
