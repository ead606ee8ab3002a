"""What a run reports of itself while it runs."""
