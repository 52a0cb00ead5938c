"""The older tools' faces: each reads its old command line and prints its old output over our tables.

A tool is a module with ``run(name, arguments)``: `name` is what the user called it by, `arguments` is the rest of
the command line, unread; it gives the exit status that the old tool would have given.
"""
