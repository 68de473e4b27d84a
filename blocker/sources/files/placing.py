"""Where reading goes on in a log's file that may be an earlier one, rewritten."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from blocker.sources.files.generation import Generation
from blocker.sources.files.known import SEARCHED
from blocker.sources.files.rewritten import has_lost_end, place_behind
from blocker.sources.position import Position


class Placing:
    """Starts the path's file behind what was read of it, or of the file that it replaced.

    That is neither the case where the earlier file stands among the rotated ones, nor where a
    rotated file holds what was read.

    Args:
        live: the path's file, nothing of which has been read.
        generations: the open ones of the path.
        known: positions that no rotated file holds.
        rotated: inodes of the rotated files.

    Attributes:
        lost: how far the file was read, if it has lost its end since then.
    """

    def __init__(
        self,
        live: Generation,
        generations: Iterable[Generation],
        known: Iterable[Position],
        rotated: AbstractSet[int],
    ) -> None:
        self._live = live
        self._wanted = [each for each in known if each.head and each.offset]
        self._earlier = [
            generation
            for generation in generations
            if generation.state.draining and generation.file.inode not in rotated
        ]
        if live.before is not None and live.before.delivered in self._wanted:
            self._earlier.append(live.before)
        self.lost: Position | None = None

    def go_on(self) -> bool:
        """Move the start behind the last bytes known; return whether they were found."""
        live = self._live
        spots = [
            (place_behind(live.file, generation.delivered), number, generation)
            for number, generation in enumerate(self._earlier)
        ]
        place, _, before = max(spots, default=(0, 0, None), key=lambda spot: spot[:2])
        known = [generation.delivered for generation in self._earlier]
        if not known:
            known = self._wanted[-SEARCHED:]
            place = max((place_behind(live.file, each) for each in known), default=0)
        if place:
            live.go_on_behind(place, before)
            return True
        if known and has_lost_end(live.file, known[-1]):
            self.lost = known[-1]
        return False


def place_old(generations: Sequence[Generation]) -> None:
    """Do the same for files that were cut off and renamed between two looks."""
    for generation in generations:
        if generation.state.draining and generation.before is not None and not generation.offset:
            place = place_behind(generation.file, generation.before.delivered)
            generation.go_on_behind(place, None)
            generation.placed()
