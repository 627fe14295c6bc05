"""What was to be proved, and what came of it: a line as each proof is done, a table at the end."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hil.customer import Missing


@dataclass
class Proof:
    title: str
    figures: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    done: bool = False

    @property
    def held(self) -> bool:
        return self.done and not self.faults

    def figure(self, text: str) -> None:
        self.figures.append(text)

    def expect(self, holds: bool, expected: str, came: object) -> None:
        """One that does not hold fails the proof, which goes on all the same: its other figures are of use."""
        if not holds:
            self.faults.append(f"expected {expected}; came: {came}")


class Report:
    """Proofs are known beforehand, so that one which was never reached is seen to be missing."""

    def __init__(self, console: Console, titles: Sequence[str]) -> None:
        self._console = console
        self.proofs = {title: Proof(title) for title in titles}

    @property
    def held(self) -> bool:
        return all(proof.held for proof in self.proofs.values())

    @contextmanager
    def proof(self, title: str) -> Iterator[Proof]:
        """What is missing ends the proof, and goes on to end its chapter."""
        proof = self.proofs[title]
        try:
            yield proof
        except Missing as exc:
            proof.faults.append(str(exc))
            raise
        except BaseException as exc:
            proof.faults.append(f"cut short: {type(exc).__name__}")
            raise
        finally:
            proof.done = True
            self._print(proof)

    @contextmanager
    def chapter(self) -> Iterator[None]:
        """Proofs that build on one another: when something is missing, those that follow are not reached."""
        try:
            yield
        except Missing:
            return

    def _print(self, proof: Proof) -> None:
        word = "[green]held[/]" if proof.held else "[bold red]NOT HELD[/]"
        self._console.print(f"{word}  {escape(proof.title)}: {escape('; '.join(proof.figures))}", soft_wrap=True)
        for fault in proof.faults:
            self._console.print(f"[red]    {escape(fault)}[/]", soft_wrap=True)

    def table(self) -> Table:
        table = Table("what", "held", "figures", box=None, padding=(0, 2, 0, 0), header_style="bold")
        for proof in self.proofs.values():
            word = "[green]yes[/]" if proof.held else "[bold red]NO[/]" if proof.done else "[red]not reached[/]"
            table.add_row(escape(proof.title), word, escape("\n".join(proof.figures)))
        return table
