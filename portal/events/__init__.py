"""What happened?

`recording` turns findings into rows, the only place that does, in the thread of `recorder`; `follow_ups` is what a row
sets off. `feed` numbers what pages must know, and `messages` words it. `review` decides about a violation, `pictures`
is the only way to its snapshot, and `retention` deletes it on time. `camera_states` notices cameras that nobody
watches, and `notices` reports what is wrong with the portal itself.
"""
