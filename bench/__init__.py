"""Benchmarks that anyone can run.

`trolley bench` measures cases in turns: `case.py` and `report.py` have the words, `cases/` one file
for each, `session.py` the turns, `floor.py` and `rig/` the marks that they are held against.
Modules with a command of their own (`python -m bench.lanes`) compare two ways of doing one thing.
"""
