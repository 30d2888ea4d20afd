"""The code that runs on the agent's Python: standard library and the agent's SDK only, Python >= 3.10.

Started by path (`main.py`), never imported by the host. The modules load one another under a private package
name, so that they neither shadow the agent's modules nor are shadowed by them.
"""
