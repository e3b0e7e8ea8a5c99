"""Who may what?

`access` is the only place that knows roles; `memberships` gives and takes them; `two_factor` is the second half of
signing in; `audit` notes who looked at what and changed what.
"""
