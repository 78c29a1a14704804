"""Takes in changes as they happen, until interrupted."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

import httpx

from api.cli.output import note
from connectors.base import Connector
from rag.errors import KustosError, Unavailable

INTERVAL_S = 300.0
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0

TakeIn = Callable[[Connector], None]


def watch(connectors: Sequence[Connector], take_in: TakeIn, stop: threading.Event) -> None:
    """Calls `take_in` whenever something in a source changed, for one source at a time, until Ctrl-C or `stop`.

    Raises:
        KustosError: a source came to an end that no waiting mends; the others were stopped with it.
    """
    one_at_a_time, ended = threading.Lock(), queue.SimpleQueue[BaseException | None]()

    def alone(connector: Connector) -> None:
        with one_at_a_time:
            if not stop.is_set():
                take_in(connector)

    def run(connector: Connector) -> None:
        try:
            follow(connector, alone, stop)
        except Exception as error:  # noqa: BLE001  told to the thread that waits, which ends the command with it
            ended.put(error)
        else:
            ended.put(None)

    for each in connectors:
        threading.Thread(target=run, args=(each,), name=f"watch {each.source}", daemon=True).start()
    try:
        error = ended.get()
    except KeyboardInterrupt:
        return
    finally:
        unasked = not stop.is_set()
        stop.set()
    if isinstance(error, KustosError):
        raise error
    if error is not None or unasked:
        raise KustosError(f"watching ended unasked: {error or 'a source has nothing more to watch'}") from error


def follow(connector: Connector, take_in: TakeIn, stop: threading.Event, first_pause_s: float = FIRST_PAUSE_S) -> None:
    """Watches one source until `stop`. What blinks (the share, the service) is waited for, longer each time.

    Raises:
        KustosError: anything that waiting does not mend.
    """
    pause = first_pause_s
    while not stop.is_set():
        try:
            for _ in connector.watch(stop, INTERVAL_S):
                take_in(connector)
                pause = first_pause_s
            if not stop.is_set():
                return
        except (Unavailable, httpx.HTTPError) as error:
            if stop.is_set():
                return
            note(f"{connector.source}: {error}; trying again in {pause:.0f} s")
            stop.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
