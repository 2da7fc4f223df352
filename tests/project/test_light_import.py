"""``import captum_cams`` loads no library that it does not need yet."""

import json
import subprocess
import sys

# Captum itself imports matplotlib, so that what counts is which file asks for it.
CODE = """
import builtins, json, sys
asked, real = set(), builtins.__import__

def watched(name, globals=None, locals=None, fromlist=(), level=0):
    if level == 0 and globals and str(globals.get("__name__")).split(".")[0] == "captum_cams":
        asked.add(name.split(".")[0])
    return real(name, globals, locals, fromlist, level)

builtins.__import__ = watched
import captum_cams
print(json.dumps([sorted(asked), sorted({name.split(".")[0] for name in sys.modules})]))
"""
LATER = {
    *("lightning", "pytorch_lightning", "lightning_callbacks", "torchmetrics", "tensorboard", "jinja2"),
    *("timm", "transformers", "onnx", "onnxruntime", "onnxscript", "sklearn", "skimage", "cv2", "jsonargparse"),
}


def test_nothing_is_loaded_too_early():
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    asked, loaded = map(set, json.loads(run.stdout))
    assert {"torch", "captum", "torchvision"} <= asked
    assert not asked & {*LATER, "matplotlib", "PIL", "pandas"}
    assert not loaded & LATER
