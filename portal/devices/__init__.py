"""What else is a camera?

`pairing` makes a phone, a computer or a program one, `pushing` judges the frames that it sends, `sockets` speaks with
the pages at a door.
"""
