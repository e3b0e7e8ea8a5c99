"""Who is told elsewhere?

`happenings`, `outages`, `trouble` and `digests` say what is worth telling; `rules` makes the rows, for whom a site's
rules name; `escalation` asks the next person. `outbox` sends what waits, in the threads of `sender`, by `channels`,
which has a file for each way, in the words of `wording`. `mqtt` is for other systems.
"""
