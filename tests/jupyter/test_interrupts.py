"""Interrupts that are put off."""

import os
import signal
import threading

import pytest

from dexto_magic.jupyter.interrupts import put_off


@pytest.fixture(autouse=True)
def interrupts():
    """Interrupts as Python has them, whoever runs the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def interrupted_amid(work):
    with put_off():
        interrupt()
        interrupt()
        work()


def test_an_interrupt_comes_when_all_is_done():
    done = []
    with pytest.raises(KeyboardInterrupt):
        interrupted_amid(lambda: done.append(1))
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_an_interrupt_nothing_happens():
    with put_off():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_comes_before_the_interrupt_that_was_put_off():
    with pytest.raises(ZeroDivisionError):
        interrupted_amid(lambda: 1 / 0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_on_another_thread_there_is_nothing_to_put_off():
    errors = []

    def work():
        try:
            with put_off():
                pass
        except BaseException as error:  # noqa: BLE001  # told to the test
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == []


def test_interrupts_that_are_ignored_stay_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with put_off():
        interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
