"""Who may do what?

`access` is the only place that knows roles; `memberships` gives and removes them; `two_factor` is the second half of
signing in; `audit` records who looked at what and changed what.
"""
