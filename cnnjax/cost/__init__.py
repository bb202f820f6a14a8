"""What a function costs, from shapes alone."""

from cnnjax.cost._macs import count_macs as count_macs
