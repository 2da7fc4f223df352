"""The maps of one image for the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from captum_cams import CAMAttribution
from captum_cams.engine.scores import Kind, probabilities
from lightning_callbacks.command.words import class_index
from lightning_callbacks.network import Network


@dataclass(frozen=True)
class ExplainedClass:
    """The maps of one class of an image.

    Args:
        name: the name of the class.
        score: its probability, or its value in a regression.
        quantity: "p" or "value".
        predicted: whether the network predicts this class.
        maps: method → map 1×1×h×w.
    """

    name: str
    score: float
    quantity: str
    predicted: bool
    maps: Mapping[str, Tensor]

    @property
    def caption(self) -> str:
        """The text below a picture."""
        return f"{'predicted ' * self.predicted}{self.name}, {self.quantity} = {self.score:.2f}"


@dataclass(frozen=True)
class ExplainedImage:
    """One image with its explained classes; ``inputs`` is 1×C×H×W, as the network gets it."""

    file: Path
    inputs: Tensor
    classes: Sequence[ExplainedClass]


def explain_image(
    file: Path,
    inputs: Tensor,
    network: Network,
    explainers: Mapping[str, CAMAttribution],
    class_names: Sequence[str],
    targets: Sequence[int | str],
    task: Kind,
) -> ExplainedImage:
    """Explain the classes that are asked for, or else the predicted class.

    Args:
        file: the file of the image.
        inputs: 1×C×H×W, as the network gets it.
        network: the network.
        explainers: method → explainer.
        class_names: the names of the classes; may be empty.
        targets: indices and names of classes.
        task: meaning of the output.

    Raises:
        CAMError: there is no such class.
    """
    scores = network.scores(inputs, task)
    shares, best = probabilities(scores, task)[0], int(scores[0].argmax())
    indices = [class_index(one, class_names, scores.shape[1]) for one in targets] or [best]
    quantity = "value" if task == "regression" else "p"
    classes = []
    for index in dict.fromkeys(indices):
        name = class_names[index] if index < len(class_names) else f"class {index}"
        maps = {method: explainer.attribute(inputs, index) for method, explainer in explainers.items()}
        classes.append(ExplainedClass(name, float(shares[index]), quantity, index == best, maps))
    return ExplainedImage(file, inputs, classes)
