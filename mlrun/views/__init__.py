"""Records into text: pure functions, given values and returning lines. Nothing here prints or reads."""
