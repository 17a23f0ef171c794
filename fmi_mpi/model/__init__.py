"""Time and money: what a channel and an algorithm will take, and which to choose."""
