"""What does the same pipeline make of a recorded clip?

`replay` runs one through it and draws what it saw; `clip_writer` writes one.
"""
