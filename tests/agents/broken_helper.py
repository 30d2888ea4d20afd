"""Fails while it is imported."""


def look_up():
    return {}["missing"]


look_up()
