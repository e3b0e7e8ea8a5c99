"""What does a newcomer see? Two sites with a camera each, which play clips that show nobody real."""

CLIPS = ("harbour-house.mp4", "maple-tower.mp4")
