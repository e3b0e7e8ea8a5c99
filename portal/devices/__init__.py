"""What else can be a camera?

`pairing` turns a phone, a computer or a program into one, `pushing` checks the frames that it sends, and `sockets`
talks to the pages at a door.
"""
