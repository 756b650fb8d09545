"""One-way views of conversations: to text for terminals, to safe HTML for notebooks."""
