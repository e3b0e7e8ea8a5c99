"""How the default model is made: pictures with boxes in, an ONNX file with its manifest out.

Only this package imports torch (requirements-train.txt); the product runs without it.
"""
