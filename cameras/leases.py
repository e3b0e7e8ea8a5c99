from dataclasses import dataclass


@dataclass
class WorkerState:
    watching: list[int]


def living_workers() -> list[WorkerState]:
    return [WorkerState([])]
