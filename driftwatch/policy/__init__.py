"""Pure decisions about people and time: who may do what."""
