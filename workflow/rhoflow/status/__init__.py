"""Where a run stands, from the files alone: read a layout of paths, render a page of text.

Nothing is written and nothing is locked, so the state of a run can be read while it goes on, from
any machine that sees the files. What the files do not tell is not guessed: a page says "running
or interrupted", or "no estimate yet".
"""
