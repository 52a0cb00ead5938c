"""A capture's conversations, for whoever looks at them one by one: which are shown, their segments, bytes and requests.

`catalog` holds them; the command ``tcpsight streams`` and its screen ask it the same questions.
"""
