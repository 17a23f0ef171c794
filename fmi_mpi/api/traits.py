"""What several MPI classes have in common on top of their calls: names, hints, groups as properties.

Rules of this file:
- A trait only calls what the class that has it defines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fmi_mpi.api.group import Group
    from fmi_mpi.api.info import Info

__all__ = ["Grouped", "Hinted", "Named", "text"]


def text(value: str | bytes) -> str:
    """Return a name as text; raises TypeError if it is none."""
    if not isinstance(value, (str, bytes)):
        raise TypeError(f"expecting a string, got {type(value).__name__}")
    return value if isinstance(value, str) else value.decode()


class Named:
    """Has a print name."""

    __slots__ = ()
    if TYPE_CHECKING:

        def Get_name(self) -> str: ...
        def Set_name(self, name: str) -> None: ...

    @property
    def name(self) -> str:
        """Print name."""
        return self.Get_name()

    @name.setter
    def name(self, value: str) -> None:
        self.Set_name(value)


class Hinted:
    """Has hints."""

    __slots__ = ()
    if TYPE_CHECKING:

        def Get_info(self) -> Info: ...
        def Set_info(self, info: Info) -> None: ...

    @property
    def info(self) -> Info:
        """Info hints."""
        return self.Get_info()

    @info.setter
    def info(self, value: Info) -> None:
        self.Set_info(value)


class Grouped:
    """Belongs to a group of processes."""

    __slots__ = ()
    if TYPE_CHECKING:

        def Get_group(self) -> Group: ...

    @property
    def group(self) -> Group:
        """Group."""
        return self.Get_group()

    @property
    def group_size(self) -> int:
        """Group size."""
        return self.Get_group().Get_size()

    @property
    def group_rank(self) -> int:
        """Group rank."""
        return self.Get_group().Get_rank()
