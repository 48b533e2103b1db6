"""Participants behind a queue: calls leave as commands, and answers come back as replies.

`messages.py` has what both are, `transport.py` the side of the saga, `listening.py` the side of the service.
"""
