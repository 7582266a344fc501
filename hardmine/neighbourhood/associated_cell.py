"""A parameter of a cell associated in advance with the present one (R32; D52, D53)."""

from torch import Tensor

from hardmine.errors import InputError
from hardmine.neighbourhood.cells import Cells
from hardmine.store.environment import EnvironmentTable


class AssociatedCell(Cells):
    """River, night, sunny: the river of a cloudy night, where `associations` has {"sunny night": ["cloudy night"]}."""

    def linked(self, table: EnvironmentTable) -> Tensor:
        """See `Cells`.

        Raises:
            InputError: nothing is associated.
        """
        if not table.associated.any():
            raise InputError(
                "environment.associations: no cells are associated, so that nothing is near: "
                'associate some, for instance {"sunny night": [cloudy night]}, or take same_cell'
            )
        return table.associated
