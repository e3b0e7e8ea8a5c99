"""Who is told elsewhere?

`outages` says what is worth telling, `outbox` sends the row that each receiver gets, and `channels` has a file for each
way in which that is done.
"""
