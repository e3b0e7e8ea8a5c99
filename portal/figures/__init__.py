"""How well are masks worn?

`hours` counts what was seen into rows of hours and days, and `reports` answers from them.
"""
