"""How dates look where Django's own formats are not what we want; FORMAT_MODULE_PATH in portal/settings.py."""
