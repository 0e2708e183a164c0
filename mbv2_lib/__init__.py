"""MobileNetV2 in small rooms: the arithmetic of the network, the data, and the model.

Importing this package imports nothing heavy; ask for the room that you need, for example
`from mbv2_lib.costs import network_cost`.
"""

__version__ = "0.1.0"
