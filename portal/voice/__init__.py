"""What does the door say?

`reminding` decides whether it speaks, `phrases` has its words, `speech` makes sound of them. `outputs` is the one door
to where it sounds: `door` (a page), `call` (HTTP) and `local` (the worker's machine), each as `base` says.
"""
