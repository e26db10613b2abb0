"""How processes talk: communicators, their launch, and who has what."""
