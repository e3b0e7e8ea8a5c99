"""Who sees it now?

One socket a page (`consumer`); what all sockets of a web process share is `hub`: one subscription for previews, one
round for rights and heartbeats.
"""
