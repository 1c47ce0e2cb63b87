"""The tasks of the fleet. Agents use `tasks.transfer`."""
