"""What is said where something is refused."""

import pytest

import captum_cams as cc


def said(action, *args) -> str:
    """The message, which never prints the whole of what came."""
    with pytest.raises(cc.CAMError) as caught:
        action(*args)
    text = str(caught.value)
    assert len(text) < 420, text
    return text
