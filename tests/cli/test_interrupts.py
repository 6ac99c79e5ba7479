"""Ctrl-C ends a command with code 130 and a word on how to go on, whatever a library does with it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys
from resurface import progress
from resurface.cli import commands, main as cli
from resurface.errors import UserError

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000): pass

def swallowed():
    '''Interrupted within code that catches everything, then at work.'''
    try:
        interrupt()
    except BaseException:
        pass
    with progress.task('work', 10, 'steps') as bar:
        for _ in range(10):
            bar.advance()
    print('not stopped')

def twice():
    '''The second one comes while the first is dealt with.'''
    try:
        interrupt()
    finally:
        old = cli._fail
        cli._fail = lambda *a: (interrupt(), old(*a))[1]

commands.VERBS.clear()
def disguised():
    '''A library makes an error of its own of it, and a stage one that users read.'''
    try:
        interrupt()
    except BaseException:
        raise UserError('the model cannot be loaded')

def generated():
    '''Within code that is a string, as that of dataclasses.'''
    progress.note('at work')  # what the last words need is imported: it is generated code, too
    exec('interrupt()', globals())

def crashed():
    '''As before, but nobody knows that error.'''
    try:
        interrupt()
    except BaseException:
        raise RuntimeError('import failed')

commands.VERBS.update(swallowed=swallowed, twice=twice, disguised=disguised, crashed=crashed,
                   generated=generated)
sys.exit(cli.main([sys.argv[1]]))
"""


@pytest.mark.parametrize("what", ["swallowed", "twice", "disguised", "crashed", "generated"])
def test_every_interrupt_ends_in_130_and_a_remedy(what, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "program", what]  # as `python -m resurface`
    found = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, start_new_session=True
    )
    assert found.returncode == 130, found.stderr
    assert "continues where it was" in found.stderr
    assert "Traceback" not in found.stderr
    assert "not stopped" not in found.stdout
