"""What happened?

`recording` makes rows of findings, the only place that does, in the thread of `recorder`; `follow_ups` is what comes of
a row. `feed` numbers what pages must know, and `messages` words it. `review` decides about a violation, `pictures` is
the only door of its snapshot, `retention` drops it on time. `camera_states` notices cameras that nobody watches,
`notices` what troubles the portal itself.
"""
