"""How is a camera added?

`probe` tests what somebody typed, step by step; `makes` knows the addresses of the makers' streams.
"""
