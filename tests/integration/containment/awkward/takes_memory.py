"""Asks for a gibibyte of memory and writes to all of it."""

held = bytearray(1 << 30)
print(len(held))
