"""How far along a run is, for people who are waiting: a bar with the time that is left."""

from __future__ import annotations

import sys

from tqdm import tqdm


class Bar:
    """A progress bar on stderr: ten times a second on a screen, once a minute in a log."""

    def __init__(self) -> None:
        live = sys.stderr.isatty()
        self._bar = tqdm(total=100.0, unit="%", mininterval=0.1 if live else 60, bar_format="{l_bar}{bar:30}|{postfix}")

    def step(self, epoch: int, done: float, left_s: float, loss: float) -> None:
        """Show the part that is done, 0 to 1, and the time that is left."""
        left = tqdm.format_interval(left_s)
        self._bar.set_postfix_str(f" epoch {epoch}, loss {loss:.3f}, {left} left", refresh=False)
        self._bar.update(done * 100 - self._bar.n)

    def told(self, sentence: str) -> None:
        """Print something that stays on the screen."""
        self._bar.write(sentence, file=sys.stderr)

    def close(self) -> None:
        """End the bar's line."""
        self._bar.close()
