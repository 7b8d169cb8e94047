"""The commands of `agentmem`, by idea. They are imported at start, so they import what is heavy where they use it."""
