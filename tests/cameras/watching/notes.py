"""What a watch reported, for tests to check afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

from cameras.states import CameraState
from cameras.watching.preview import Offer
from detection import Finding
from detection.spots import Spot


@dataclass
class Notes:
    """An outlet that writes everything down."""

    findings: list[Finding] = field(default_factory=list)
    states: list[tuple[CameraState, str]] = field(default_factory=list)
    offers: list[Offer] = field(default_factory=list)
    outages: list[tuple[float, str]] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)
    spots: list[Spot] = field(default_factory=list)
    refusals: int = 0
    sign_ins: int = 0

    def tell(self, finding: Finding) -> None:
        self.findings.append(finding)

    def tell_state(self, state: CameraState, detail: str) -> None:
        self.states.append((state, detail))

    def tell_outage(self, began_at: float, reason: str) -> None:
        self.outages.append((began_at, reason))

    def tell_spot(self, spot: Spot) -> None:
        self.spots.append(spot)

    def tell_recovered(self, at: float) -> None:
        self.recoveries.append(at)

    def login_wait_s(self) -> float:
        return 0.0

    def signed_in(self) -> None:
        self.sign_ins += 1

    def login_refused(self) -> None:
        self.refusals += 1

    def wants_previews(self) -> bool:
        return True

    def offer_preview(self, offer: Offer) -> None:
        self.offers.append(offer)
