"""Who answers: chat models behind one protocol."""
