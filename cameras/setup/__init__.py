"""How is a camera added?

`probe` tests what somebody typed, step by step; `makes` knows the addresses of each make's streams.
"""
