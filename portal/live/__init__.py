"""What open pages are told, as it happens: one socket a page, groups of Channels for events, Redis for previews."""
