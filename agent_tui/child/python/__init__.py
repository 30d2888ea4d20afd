"""What runs on the agent's own Python: standard library and the agent's SDK only, Python >= 3.10.

Started by its path (`main.py`), never imported by the host. The modules load one another under a private
package name, so that nothing here can shadow or be shadowed by the agent's modules.
"""
