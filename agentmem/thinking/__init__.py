"""Post-thinking (Think-in-Memory, Liu et al. 2023, §3.2): what a model makes of an exchange, behind the answer."""
