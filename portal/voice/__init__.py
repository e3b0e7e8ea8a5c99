"""What does the door say?

`reminding` decides whether it speaks, `phrases` has its words, `speech` turns them into sound. `outputs` is the only
way to where it sounds: `door` (a page), `call` (HTTP) and `local` (the worker's machine), each as `base` defines.
"""
