"""Projects that nobody of hardmine wrote, mined as they are."""
