"""Who sees it now?

One socket per page (`consumer`); what all sockets of a web process share is in `hub`: one subscription for previews,
one round for rights and heartbeats.
"""
