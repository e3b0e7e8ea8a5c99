"""Which camera is watched by whom, and what does it see?"""
